"""Captions and chapters in PostgreSQL: those of a course, and the master playlist that names them."""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, delete, or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from services.transcoder.hls.captions import Captions, captioned_name
from services.transcoder.jobs.model import Job, State, TaskKind, prefix_of
from services.transcoder.jobs.postgres_course_status import course_of, lock_course
from services.transcoder.planning.source import Chapter
from shared.runtime.database import RetryingEngine
from shared.schema.tables import captions, course_chapters, courses
from shared.schema.tables import transcode_chunks as chunks
from shared.schema.tables import transcode_jobs as jobs


@dataclass(frozen=True, slots=True)
class CaptionedLesson:
    """Where a lesson's objects are, and the captions and chapters that it is to have."""

    prefix: str
    duration_seconds: float
    captions: tuple[Captions, ...]
    #: None: nobody sent any, and those of the upload are shown.
    chapters: tuple[Chapter, ...] | None


class PostgresCaptionStore:
    """Which captions and chapters a lesson is to have, and which master its course shows."""

    def __init__(self, database: RetryingEngine) -> None:
        self._database = database

    def captions(self, job_id: int) -> CaptionedLesson | None:
        """The captions and chapters of a lesson that is whole, None where the course shows another one."""

        def work(connection: Connection) -> CaptionedLesson | None:
            job = connection.execute(
                select(*jobs.c["course_id", "content_key", "state", "duration_seconds"]).where(jobs.c.id == job_id)
            ).one()
            if job.state != State.COMPLETED:
                return None
            lasts = float(job.duration_seconds or 0.0)
            return CaptionedLesson(
                prefix_of(job.course_id, job.content_key),
                lasts,
                captions_of(connection, job.course_id),
                chapters_of(connection, job.course_id, lasts),
            )

        return self._database.run(work)

    def show_captions(self, job_id: int, lesson: CaptionedLesson, name: str) -> bool:
        """Let the course show the master `name` of the same lesson, and end the request.

        False where captions or chapters are others by now: the request stays. The job's row is locked first, as the
        gateway's statement does it, so that no change is lost between the read and the end.
        """

        def work(connection: Connection) -> bool:
            course_id = course_of(connection, job_id)
            lock_course(connection, course_id)
            connection.execute(select(jobs.c.id).where(jobs.c.id == job_id).with_for_update())
            chapters = chapters_of(connection, course_id, lesson.duration_seconds)
            if captioned_name(captions_of(connection, course_id), chapters) != name:
                return False
            same = courses.c.video_ref.startswith(lesson.prefix)
            show = update(courses).where(courses.c.id == course_id, same)
            connection.execute(show.values(video_ref=lesson.prefix + name))
            done = update(jobs).where(jobs.c.id == job_id, jobs.c.requested == "captions")
            connection.execute(done.values(requested=None))
            return True

        return self._database.run(work)


def captions_of(connection: Connection, course_id: int) -> tuple[Captions, ...]:
    tracks = select(*captions.c["language", "body", "automatic"]).where(captions.c.course_id == course_id)
    return tuple(Captions(row.language, row.body, row.automatic) for row in connection.execute(tracks))


def chapters_of(connection: Connection, course_id: int, duration_seconds: float) -> tuple[Chapter, ...] | None:
    """The chapters that a person sent, those within the lesson; None where nobody did."""
    found = connection.scalar(select(course_chapters.c.chapters).where(course_chapters.c.course_id == course_id))
    if found is None:
        return None
    return tuple(Chapter(**one) for one in found if one["start_seconds"] < duration_seconds)


def has_additions(course_id: int) -> ColumnElement[bool]:
    """Whether a course has captions or chapters that its lesson's own master does not name."""
    tables = (captions, course_chapters)
    return or_(*(select(table.c.course_id).where(table.c.course_id == course_id).exists() for table in tables))


def keep_captions(connection: Connection, job: Job) -> None:
    """Those of the upload, in place of an earlier upload's; a language that a person sent stays as it is."""
    earlier = delete(captions).where(captions.c.course_id == job.course_id, captions.c.job_id != job.id)
    connection.execute(earlier)
    planned = select(chunks.c.result).where(chunks.c.job_id == job.id, chunks.c.kind == TaskKind.PLAN)
    found = (connection.scalar(planned) or {}).get("captions", ())
    for track in found:
        row = upsert(captions).values(course_id=job.course_id, job_id=job.id, **track)
        connection.execute(row.on_conflict_do_nothing())
