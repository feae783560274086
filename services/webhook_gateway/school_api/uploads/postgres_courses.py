"""Checks in PostgreSQL that an upload's course exists, and enqueues the transcoding message."""

from collections.abc import Callable

from sqlalchemy import Engine, select

from shared.contracts.routes import GATEWAY
from shared.contracts.videos import TranscodeVideo
from shared.messaging import outbox
from shared.schema.tables import courses


class PostgresCourses:
    """Implements `Courses`; `wake` is called when a message was enqueued."""

    def __init__(self, engine: Engine, wake: Callable[[], None]) -> None:
        self._engine = engine
        self._wake = wake

    def exists(self, course_id: int) -> bool:
        with self._engine.connect() as connection:
            return connection.scalar(select(courses.c.id).where(courses.c.id == course_id)) is not None

    def transcode(self, course_id: int, source_key: str) -> None:
        with self._engine.begin() as connection:
            outbox.enqueue(connection, GATEWAY, TranscodeVideo(course_id=course_id, source_key=source_key))
        self._wake()
