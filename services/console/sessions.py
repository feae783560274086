"""Console sessions in PostgreSQL: one ends at sign-out, after its hours, or with its credential.

The browser holds a random id, the table its SHA-256, so that reading the table opens no session.
"""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, delete, insert, select

from shared.schema.tables import console_sessions

SESSION_HOURS = 12
#: Endpoints of files, which browsers may keep.
FILES = frozenset({"static", "player.static"})
#: Endpoints that read no session, and so need no database.
OPEN = FILES | {"healthz", "set_language"}
_ID_BYTES = 32


@dataclass(frozen=True, slots=True)
class Session:
    """Who entered, with which credential; `role` is None where the credential has one of its own."""

    name: str
    credential: str
    role: str | None


class Sessions:
    """The open sessions."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def open(self, name: str, credential: str, role: str | None = None) -> str:
        """Open a session and return its id; sessions whose hours are over are removed."""
        session_id = secrets.token_urlsafe(_ID_BYTES)
        now = datetime.now(UTC)
        with self._engine.begin() as connection:
            connection.execute(delete(console_sessions).where(console_sessions.c.entered_at < _oldest(now)))
            connection.execute(
                insert(console_sessions).values(
                    digest=_digest(session_id), name=name, credential=credential, role=role, entered_at=now
                )
            )
        return session_id

    def find(self, session_id: str) -> Session | None:
        """The session, None where it has ended. Its hours count from the entry: pages renew themselves."""
        column = console_sessions.c
        query = select(column.name, column.credential, column.role).where(
            column.digest == _digest(session_id), column.entered_at >= _oldest(datetime.now(UTC))
        )
        with self._engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else Session(*row)

    def close(self, session_id: str) -> None:
        """End the session, also for other holders of its id."""
        with self._engine.begin() as connection:
            connection.execute(delete(console_sessions).where(console_sessions.c.digest == _digest(session_id)))


def _oldest(now: datetime) -> datetime:
    return now - timedelta(hours=SESSION_HOURS)


def _digest(session_id: str) -> bytes:
    return hashlib.sha256(session_id.encode()).digest()
