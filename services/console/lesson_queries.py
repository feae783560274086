"""Queries of transcoding jobs for the console, and operators' requests: cancel, retry, delete."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine, text

from shared.operations import audit_log

_LESSONS = text("""
SELECT job.id, job.course_id, job.state, job.reason, job.detail, job.duration_seconds, job.source_bytes,
    job.created_at, job.planned_at, job.first_shown_at, job.finished_at, job.warnings, job.requested,
    coalesce(sum(part.done_seconds) FILTER (WHERE part.kind = 'video'),
             avg(part.done_seconds) FILTER (WHERE part.kind = 'audio'), 0) AS made_seconds,
    count(*) FILTER (WHERE part.kind = 'video') AS chunks,
    count(*) FILTER (WHERE part.kind = 'video' AND part.state = 'done') AS chunks_done,
    count(*) FILTER (WHERE part.state = 'running' AND part.lease_until > now()) AS in_work,
    coalesce(sum(part.attempts), 0) AS attempts,
    max(part.error) FILTER (WHERE part.state <> 'done') AS fault,
    extract(epoch FROM coalesce(job.finished_at, now()) - job.planned_at) AS worked_seconds
FROM (SELECT * FROM transcode_jobs WHERE (CAST(:state AS text) IS NULL OR state = :state)
      AND (CAST(:id AS bigint) IS NULL OR id = :id)
      ORDER BY id DESC LIMIT :limit) AS job
LEFT JOIN transcode_chunks AS part ON part.job_id = job.id
GROUP BY job.id, job.course_id, job.state, job.reason, job.detail, job.duration_seconds, job.source_bytes,
    job.created_at, job.planned_at, job.first_shown_at, job.finished_at, job.warnings, job.requested
ORDER BY job.id DESC
""")
_COURSE = text("""
SELECT courses.title, courses.video_ref,
    coalesce((SELECT chapters FROM course_chapters WHERE course_id = job.course_id), job.chapters) AS chapters,
    (SELECT array_agg(language || CASE WHEN automatic THEN ' (auto)' ELSE '' END ORDER BY language)
     FROM captions WHERE course_id = job.course_id) AS captions
FROM transcode_jobs AS job JOIN courses ON courses.id = job.course_id WHERE job.id = :id
""")
_ASK = text("""
UPDATE transcode_jobs SET requested = :what
WHERE id = :id AND state = ANY(:states) AND (requested IS NULL OR requested = 'captions') RETURNING course_id
""")
_REMOVE_ADDITIONS = text("""
WITH removed AS (DELETE FROM course_chapters WHERE course_id = :course_id)
DELETE FROM captions WHERE course_id = :course_id
""")
_OPEN = ("queued", "probing", "encoding", "publishing")
#: Which states of a job each request is for, as the gateway's API has it.
POSSIBLE = {
    "cancel": _OPEN,
    "retry": ("failed", "cancelled"),
    "delete": (*_OPEN, "completed", "failed", "cancelled"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """One job. `speed` is seconds of the lesson made in one second."""

    id: int
    course_id: int
    state: str
    reason: str | None
    warnings: Sequence[dict[str, str]]
    detail: str | None
    fault: str | None
    duration_seconds: float | None
    source_bytes: int
    made_seconds: float
    worked_seconds: float | None
    chunks: int
    chunks_done: int
    in_work: int
    attempts: int
    created_at: datetime
    planned_at: datetime | None
    first_shown_at: datetime | None
    finished_at: datetime | None
    #: What was asked of it and is not done yet.
    requested: str | None

    @property
    def possible(self) -> Sequence[str]:
        """What can be asked of it now."""
        return () if self.requested else [what for what, states in POSSIBLE.items() if self.state in states]

    @property
    def percent(self) -> float:
        if self.state == "completed":
            return 100.0
        return min(99.0, 100 * self.made_seconds / self.duration_seconds) if self.duration_seconds else 0.0

    @property
    def speed(self) -> float | None:
        return self.made_seconds / self.worked_seconds if self.worked_seconds and self.made_seconds else None

    @property
    def left(self) -> timedelta | None:
        if self.finished_at or not (self.speed and self.duration_seconds):
            return None
        return timedelta(seconds=max(0.0, self.duration_seconds - self.made_seconds) / self.speed)


def read_lessons(engine: Engine, *, state: str | None = None, limit: int = 50) -> Sequence[Lesson]:
    """The newest first."""
    with engine.connect() as connection:
        return [
            _lesson(dict(row))
            for row in connection.execute(_LESSONS, {"state": state, "limit": limit, "id": None}).mappings()
        ]


@dataclass(frozen=True, slots=True)
class LessonDetails:
    """One job with its course's title, its chapters (`start_seconds`, `title`) and the languages of its captions.

    `master_key` is what the course shows now, which may be another job's lesson.
    """

    lesson: Lesson
    title: str | None
    master_key: str | None
    chapters: Sequence[dict[str, object]]
    captions: Sequence[str]


def read_lesson(engine: Engine, job_id: int) -> LessonDetails | None:
    """One job, None where there is none."""
    with engine.connect() as connection:
        row = connection.execute(_LESSONS, {"state": None, "limit": 1, "id": job_id}).mappings().one_or_none()
        if row is None:
            return None
        course = connection.execute(_COURSE, {"id": job_id}).one()
    return LessonDetails(
        _lesson(dict(row)), course.title, course.video_ref, course.chapters or (), course.captions or ()
    )


def ask(engine: Engine, job_id: int, what: str, *, who: str, why: str) -> bool:
    """Ask the transcoder to cancel, retry or delete a lesson; a worker does it within seconds, and the audit has it.

    False where its state does not allow that, or where something is asked already.
    """
    with engine.begin() as connection:
        given = {"id": job_id, "what": what, "states": list(POSSIBLE[what])}
        course_id = connection.scalar(_ASK, given)
        if course_id is None:
            return False
        if what == "delete":
            connection.execute(_REMOVE_ADDITIONS, {"course_id": course_id})
        audit_log.record(connection, who=who, what=f"lesson.{what}", why=why, ids=[job_id])
        return True


def _lesson(row: dict[str, object]) -> Lesson:
    worked = row.pop("worked_seconds")
    row["warnings"] = row["warnings"] or ()
    return Lesson(**row, worked_seconds=None if worked is None else float(str(worked)))  # type: ignore[arg-type]
