"""Reads the state of a course's video in PostgreSQL, and writes requests, captions and chapters."""

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, Row, text

from services.webhook_gateway.errors import (
    BadChaptersError,
    NothingToDoError,
    UnknownCaptionsError,
    UnknownChaptersError,
    UnknownCourseError,
)

#: Checking the upload, and publishing, are the rest of the way.
ENCODING_SHARE = 0.96
#: Which states of a job each request is for.
POSSIBLE = {
    "cancel": ("queued", "probing", "encoding", "publishing"),
    "retry": ("failed", "cancelled"),
    "captions": ("completed",),
    "delete": ("queued", "probing", "encoding", "publishing", "completed", "failed", "cancelled"),
}
_WORDS = {"queued": "pending", "probing": "processing", "encoding": "processing", "publishing": "processing"}
_PENDING = {"cancel": "cancelling", "retry": "pending", "delete": "deleting", "captions": "completed"}

_NEWEST = text("""
SELECT courses.video_ref, courses.transcoding_status, job.id AS job_id, job.state, job.reason, job.duration_seconds,
    job.requested, job.warnings, job.chapters,
    (SELECT chapters FROM course_chapters WHERE course_id = courses.id) AS sent_chapters,
    (SELECT coalesce(sum(done_seconds) FILTER (WHERE kind = 'video'),
                     avg(done_seconds) FILTER (WHERE kind = 'audio'), 0)
     FROM transcode_chunks WHERE job_id = job.id) AS made_seconds,
    speech.parts, speech.heard, speech.begun, speech.failed
FROM courses LEFT JOIN LATERAL (
    SELECT id, state, reason, duration_seconds, requested, warnings, chapters FROM transcode_jobs
    WHERE course_id = courses.id AND (deleted_at IS NULL OR requested = 'delete') ORDER BY id DESC LIMIT 1
) AS job ON true LEFT JOIN LATERAL (
    SELECT count(*) AS parts, count(*) FILTER (WHERE state = 'done') AS heard,
        count(*) FILTER (WHERE state = 'running') AS begun, count(*) FILTER (WHERE state = 'failed') AS failed
    FROM transcode_chunks WHERE job_id = job.id AND kind = 'speech'
) AS speech ON true
WHERE courses.id = :course_id
""")
_TRACKS = text("SELECT language, automatic FROM captions WHERE course_id = :course_id ORDER BY language")
#: One transaction: a worker that sees the request sees the captions.
_PUT = text("""
WITH kept AS (
    INSERT INTO captions (course_id, language, body) VALUES (:course_id, :language, :body)
    ON CONFLICT (course_id, language) DO UPDATE SET body = :body, automatic = false, job_id = NULL, updated_at = now()
)
UPDATE transcode_jobs SET requested = 'captions' WHERE id = :job_id AND state = 'completed'
    AND (requested IS NULL OR requested = 'captions')
""")
_REMOVE = text("""
WITH removed AS (
    DELETE FROM captions WHERE course_id = :course_id AND language = :language RETURNING 1
), asked AS (
    UPDATE transcode_jobs SET requested = 'captions' WHERE id = :job_id AND state = 'completed'
        AND (requested IS NULL OR requested = 'captions')
)
SELECT count(*) FROM removed
""")
_PUT_CHAPTERS = text("""
WITH kept AS (
    INSERT INTO course_chapters (course_id, chapters) VALUES (:course_id, CAST(:chapters AS jsonb))
    ON CONFLICT (course_id) DO UPDATE SET chapters = excluded.chapters, updated_at = now()
)
UPDATE transcode_jobs SET requested = 'captions' WHERE id = :job_id AND state = 'completed'
    AND (requested IS NULL OR requested = 'captions')
""")
_REMOVE_CHAPTERS = text("""
WITH removed AS (
    DELETE FROM course_chapters WHERE course_id = :course_id RETURNING 1
), asked AS (
    UPDATE transcode_jobs SET requested = 'captions' WHERE id = :job_id AND state = 'completed'
        AND (requested IS NULL OR requested = 'captions')
)
SELECT count(*) FROM removed
""")
_REMOVE_ALL = text("""
WITH removed AS (DELETE FROM course_chapters WHERE course_id = :course_id)
DELETE FROM captions WHERE course_id = :course_id
""")
_ASK = text("UPDATE transcode_jobs SET requested = :what WHERE id = :job_id AND requested IS DISTINCT FROM 'delete'")


@dataclass(frozen=True, slots=True)
class CaptionTrack:
    """Captions of one language."""

    language: str
    automatic: bool


@dataclass(frozen=True, slots=True)
class Transcription:
    """How far the automatic captions are."""

    status: str
    percent: float


@dataclass(frozen=True, slots=True)
class Video:
    """A course's video, as the school's back end shows it to a teacher."""

    status: str
    percent: float
    reason: str | None
    master_key: str | None
    duration_seconds: float | None
    captions: Sequence[CaptionTrack]
    #: None where nothing is transcribed.
    transcription: Transcription | None
    #: `code` and `text` of each: what a lesson that can be watched lacks.
    warnings: Sequence[dict[str, str]]
    #: `start_seconds` and `title` of each.
    chapters: Sequence[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Chapters:
    """The chapters that players show, and where they are from: `api`, `upload` or `none`."""

    source: str
    chapters: Sequence[dict[str, Any]]


class PostgresVideos:
    """The newest job of each course."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def show(self, course_id: int) -> Video:
        """Raises UnknownCourseError."""
        row = self._newest(course_id)
        with self._engine.connect() as connection:
            tracks = connection.execute(_TRACKS, {"course_id": course_id}).all()
        captions = [CaptionTrack(track.language, track.automatic) for track in tracks]
        status = _status(row)
        if _is_unopened(row):
            return Video(status, 0.0, None, row.video_ref, None, captions, None, [], _chapters(row).chapters)
        made, whole = float(row.made_seconds or 0), row.duration_seconds
        share = min(1.0, made / whole) if whole else 0.0
        return Video(
            status,
            100.0 if status == "completed" else round(100 * (0.02 + ENCODING_SHARE * share), 1) if whole else 0.0,
            row.reason,
            row.video_ref,
            whole,
            captions,
            _transcription(row),
            row.warnings or [],
            _chapters(row).chapters,
        )

    def ask(self, course_id: int, what: str) -> str:
        """Ask the transcoder to cancel, retry or delete; the status until it has.

        Raises UnknownCourseError, NothingToDoError.
        """
        row = self._newest(course_id)
        if row.requested == what:
            return _PENDING[what]
        is_unopened = _is_unopened(row)
        # a job of an earlier upload is not what the teacher sees, and ends once a worker opens the new one
        if row.state not in POSSIBLE[what] or (what == "cancel" and is_unopened):
            raise NothingToDoError(course_id, what, _status(row), is_unopened=is_unopened)
        with self._engine.connect() as connection:
            if what == "delete":
                connection.execute(_REMOVE_ALL, {"course_id": course_id})
            connection.execute(_ASK, {"what": what, "job_id": row.job_id})
        return _PENDING[what]

    def put_captions(self, course_id: int, language: str, body: str) -> None:
        """Keep the captions of one language; a worker publishes them. Raises UnknownCourseError."""
        row = self._newest(course_id)
        given = {"course_id": course_id, "language": language, "body": body, "job_id": row.job_id}
        with self._engine.connect() as connection:
            connection.execute(_PUT, given)

    def remove_captions(self, course_id: int, language: str) -> None:
        """Raises UnknownCourseError or UnknownCaptionsError."""
        row = self._newest(course_id)
        given = {"course_id": course_id, "language": language, "job_id": row.job_id}
        with self._engine.connect() as connection:
            if not connection.scalar(_REMOVE, given):
                raise UnknownCaptionsError(course_id, language)

    def chapters(self, course_id: int) -> Chapters:
        """Raises UnknownCourseError."""
        return _chapters(self._newest(course_id))

    def put_chapters(self, course_id: int, chapters: Sequence[dict[str, Any]]) -> Chapters:
        """Keep chapters in place of the upload's; a worker publishes them. They are put in order.

        Raises UnknownCourseError, or BadChaptersError where two begin at once or one begins after the lesson's end.
        """
        row = self._newest(course_id)
        ordered = sorted(chapters, key=lambda one: float(one["start_seconds"]))
        starts = [float(one["start_seconds"]) for one in ordered]
        for start, following in itertools.pairwise(starts):
            if start == following:
                raise BadChaptersError(f"Two chapters begin at {start:g} seconds.")
        if row.duration_seconds and starts and starts[-1] >= row.duration_seconds:
            raise BadChaptersError(
                f"A chapter begins at {starts[-1]:g} seconds, and the lesson ends at {row.duration_seconds:g}."
            )
        given = {"course_id": course_id, "chapters": json.dumps(ordered), "job_id": row.job_id}
        with self._engine.connect() as connection:
            connection.execute(_PUT_CHAPTERS, given)
        return Chapters("api", ordered)

    def remove_chapters(self, course_id: int) -> Chapters:
        """Show the upload's again, which are returned. Raises UnknownCourseError or UnknownChaptersError."""
        row = self._newest(course_id)
        with self._engine.connect() as connection:
            if not connection.scalar(_REMOVE_CHAPTERS, {"course_id": course_id, "job_id": row.job_id}):
                raise UnknownChaptersError(course_id)
        return _uploads_chapters(row)

    def _newest(self, course_id: int) -> Row[*tuple[Any, ...]]:
        with self._engine.connect() as connection:
            row = connection.execute(_NEWEST, {"course_id": course_id}).one_or_none()
        if row is None:
            raise UnknownCourseError(course_id)
        return row


def _chapters(row: Row[*tuple[Any, ...]]) -> Chapters:
    if row.sent_chapters is None:
        return _uploads_chapters(row)
    lasts = row.duration_seconds or float("inf")
    return Chapters("api", [one for one in row.sent_chapters if one["start_seconds"] < lasts])


def _uploads_chapters(row: Row[*tuple[Any, ...]]) -> Chapters:
    return Chapters("upload" if row.chapters else "none", row.chapters or [])


def _transcription(row: Row[*tuple[Any, ...]]) -> Transcription | None:
    if not row.parts:
        return None
    if row.heard == row.parts:
        return Transcription("completed", 100.0)
    status = "failed" if row.failed else "processing" if row.heard or row.begun else "pending"
    return Transcription(status, round(100 * row.heard / row.parts, 1))


def _status(row: Row[*tuple[Any, ...]]) -> str:
    if row.requested not in (None, "captions"):
        return _PENDING[row.requested]
    if _is_unopened(row):
        return "pending"
    if row.job_id is None:
        return "none"
    return _WORDS.get(row.state, str(row.state))


def _is_unopened(row: Row[*tuple[Any, ...]]) -> bool:
    """Whether an upload is complete, and no worker has opened its job yet: the newest job, if any, is of another.

    An earlier upload's job that ends meanwhile hides it: it writes the same status.
    """
    return row.transcoding_status == "pending" and row.state != "queued" and row.requested in (None, "captions")
