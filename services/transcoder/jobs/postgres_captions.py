"""Captions in PostgreSQL: those of a course, and the master playlist that names them."""

from dataclasses import dataclass

from sqlalchemy import Connection, delete, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from services.transcoder.hls.captions import Captions, captioned_name
from services.transcoder.jobs.model import Job, State, TaskKind, prefix_of
from services.transcoder.jobs.postgres_courses import course_of, lock_course
from shared.runtime.database import RetryingEngine
from shared.schema.tables import captions, courses
from shared.schema.tables import transcode_chunks as chunks
from shared.schema.tables import transcode_jobs as jobs


@dataclass(frozen=True, slots=True)
class CaptionedLesson:
    """Where a lesson's objects are, and the captions that it is to have."""

    prefix: str
    captions: tuple[Captions, ...]


class PostgresCaptionStore:
    """Which captions a lesson is to have, and which master its course shows."""

    def __init__(self, database: RetryingEngine) -> None:
        self._database = database

    def captions(self, job_id: int) -> CaptionedLesson | None:
        """The captions of a lesson that is whole, None where the course shows another one."""

        def work(connection: Connection) -> CaptionedLesson | None:
            job = connection.execute(
                select(*jobs.c["course_id", "content_key", "state"]).where(jobs.c.id == job_id)
            ).one()
            if job.state != State.COMPLETED:
                return None
            return CaptionedLesson(prefix_of(job.course_id, job.content_key), captions_of(connection, job.course_id))

        return self._database.run(work)

    def show_captions(self, job_id: int, lesson: CaptionedLesson, name: str) -> bool:
        """Let the course show the master `name` of the same lesson, and end the request.

        False where the captions are others by now: the request stays. The job's row is locked first, as the gateway's
        statement does it, so that no change is lost between the read and the end.
        """

        def work(connection: Connection) -> bool:
            course_id = course_of(connection, job_id)
            lock_course(connection, course_id)
            connection.execute(select(jobs.c.id).where(jobs.c.id == job_id).with_for_update())
            if captioned_name(captions_of(connection, course_id)) != name:
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


def keep_captions(connection: Connection, job: Job) -> None:
    """Those of the upload, in place of an earlier upload's; a language that a person sent stays as it is."""
    earlier = delete(captions).where(captions.c.course_id == job.course_id, captions.c.job_id != job.id)
    connection.execute(earlier)
    planned = select(chunks.c.result).where(chunks.c.job_id == job.id, chunks.c.kind == TaskKind.PLAN)
    found = (connection.scalar(planned) or {}).get("captions", ())
    for track in found:
        row = upsert(captions).values(course_id=job.course_id, job_id=job.id, **track)
        connection.execute(row.on_conflict_do_nothing())
