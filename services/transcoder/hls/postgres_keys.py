"""The keys of encrypted lessons in PostgreSQL: chosen once, never changed."""

import secrets

from sqlalchemy import Connection, select
from sqlalchemy.dialects.postgresql import insert as upsert

from services.transcoder.errors import EnvironmentNotReadyError
from services.transcoder.hls.encryption import KEY_BYTES
from shared.runtime.database import RetryingEngine
from shared.schema.tables import chapters, course_keys, courses


class PostgresKeyStore:
    """Implements `Keys`."""

    def __init__(self, database: RetryingEngine) -> None:
        self._database = database

    def choose(self, course_id: int, content_key: str, *, paid_only: bool) -> str | None:
        paid = select(chapters.c.id).join(courses, courses.c.chapter_id == chapters.c.id)
        paid = paid.where(courses.c.id == course_id, chapters.c.price_minor > 0)
        new = upsert(course_keys).values(
            id=secrets.token_hex(16),
            course_id=course_id,
            content_key=content_key,
            secret=secrets.token_bytes(KEY_BYTES),
        )
        chosen = select(course_keys.c.id).where(
            course_keys.c.course_id == course_id, course_keys.c.content_key == content_key
        )

        def work(connection: Connection) -> str | None:
            if paid_only and connection.scalar(paid) is None:
                return None
            # of two that choose at once, the second waits here and then sees the first one's
            connection.execute(new.on_conflict_do_nothing(index_elements=["course_id", "content_key"]))
            return str(connection.execute(chosen).scalar_one())

        return self._database.run(work)

    def secret(self, key_id: str) -> bytes:
        query = select(course_keys.c.secret).where(course_keys.c.id == key_id)
        found = self._database.run(lambda connection: connection.scalar(query))
        if found is None:
            raise EnvironmentNotReadyError(
                f"The key {key_id} of an encrypted lesson is gone: restore table course_keys from a backup."
            )
        return bytes(found)
