"""Reads the keys of encrypted lessons from PostgreSQL."""

from typing import Protocol

from sqlalchemy import Engine, select, text
from sqlalchemy.exc import SQLAlchemyError

from services.playback.errors import StorageUnavailableError, UnknownFileError
from shared.runtime.logs import describe
from shared.schema.tables import course_keys


class Keys(Protocol):
    """The keys. Raises UnknownFileError or StorageUnavailableError."""

    def secret(self, course_id: int, key_id: str) -> bytes:
        """The sixteen bytes of a course's key."""
        ...

    def answers(self) -> bool:
        """Whether the database answers."""
        ...


class PostgresKeys:
    """Implements `Keys`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def secret(self, course_id: int, key_id: str) -> bytes:
        query = select(course_keys.c.secret).where(course_keys.c.course_id == course_id, course_keys.c.id == key_id)
        try:
            with self._engine.connect() as connection:
                found = connection.scalar(query)
        except SQLAlchemyError as error:
            raise StorageUnavailableError(f"the database did not answer: {describe(error)}") from error
        if found is None:
            raise UnknownFileError
        return bytes(found)

    def answers(self) -> bool:
        try:
            with self._engine.connect() as connection:
                connection.execute(text("SELECT 1"))
        except SQLAlchemyError:
            return False
        return True
