"""Reads a course's lesson from PostgreSQL, for playback addresses."""

from sqlalchemy import Engine, select

from services.webhook_gateway.errors import UnknownCourseError
from shared.schema.tables import courses


class PostgresLessons:
    """Implements `Lessons`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def master_key(self, course_id: int) -> str | None:
        with self._engine.connect() as connection:
            row = connection.execute(select(courses.c.video_ref).where(courses.c.id == course_id)).one_or_none()
        if row is None:
            raise UnknownCourseError(course_id)
        return None if row.video_ref is None else str(row.video_ref)
