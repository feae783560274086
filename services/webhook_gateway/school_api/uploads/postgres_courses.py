"""Checks in PostgreSQL that an upload's course exists, and enqueues the transcoding message."""

from collections.abc import Callable

from sqlalchemy import Connection, Engine, select, update

from shared.contracts.routes import GATEWAY
from shared.contracts.videos import TranscodeVideo
from shared.messaging import outbox
from shared.schema.tables import courses, transcode_jobs


class PostgresCourses:
    """Implements `Courses`; `wake` is called when a message was enqueued."""

    def __init__(self, engine: Engine, wake: Callable[[], None]) -> None:
        # the gateway's engine commits each statement; a message and the course's status are one transaction
        self._engine = engine.execution_options(isolation_level="READ COMMITTED")
        self._wake = wake

    def exists(self, course_id: int) -> bool:
        with self._engine.connect() as connection:
            return connection.scalar(select(courses.c.id).where(courses.c.id == course_id)) is not None

    def transcode(self, course_id: int, source_key: str) -> None:
        with self._engine.begin() as connection:
            outbox.enqueue(connection, GATEWAY, TranscodeVideo(course_id=course_id, source_key=source_key))
            _set_pending(connection, course_id, source_key)
        self._wake()


def _set_pending(connection: Connection, course_id: int, source_key: str) -> None:
    """Let the course's status be `pending` until a worker opens the job.

    An upload that is completed twice may have a job already, whose worker keeps the status: it locks the course when it
    opens one, so no job is overlooked once the course is locked here. A course that is locked keeps its status: nobody
    waits for it.
    """
    lock = select(courses.c.id).where(courses.c.id == course_id).with_for_update(key_share=True, skip_locked=True)
    if connection.scalar(lock) is None:
        return
    opened = select(transcode_jobs.c.id).where(
        transcode_jobs.c.course_id == course_id, transcode_jobs.c.source_key == source_key
    )
    connection.execute(
        update(courses).where(courses.c.id == course_id, ~opened.exists()).values(transcoding_status="pending")
    )
