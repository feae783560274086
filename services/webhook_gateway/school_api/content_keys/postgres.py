"""Reads content keys of lessons from PostgreSQL; the transcoder wrote them."""

from sqlalchemy import Engine, select

from services.webhook_gateway.errors import UnknownKeyError
from shared.schema.tables import course_keys


class PostgresKeys:
    """Implements `Keys`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def secret(self, course_id: int, key_id: str) -> bytes:
        query = select(course_keys.c.secret).where(course_keys.c.course_id == course_id, course_keys.c.id == key_id)
        with self._engine.connect() as connection:
            found = connection.scalar(query)
        if found is None:
            raise UnknownKeyError(course_id)
        return bytes(found)
