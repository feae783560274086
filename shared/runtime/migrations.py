"""Migrates a database to the newest schema, beside live traffic and from many processes at once.

Each migration is a transaction of its own. A statement that cannot have its table lock within LOCK_TIMEOUT_MS, or would
deadlock, is given up and tried again: while it waited, every later statement on that table would queue up behind it.
"""

import time
from pathlib import Path
from typing import Any, NamedTuple

import structlog
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import OperationalError

from shared.runtime.database import build_engine

#: Any number, as long as every copy of Nouba agrees on it.
LOCK = 0x4E4F554241
#: Shorter than what a webhook waits for the database.
LOCK_TIMEOUT_MS = 1000
#: How long traffic flows freely between two attempts.
PAUSE_SECONDS = 2.0
#: A backup holds its locks for as long as it runs.
PATIENCE_SECONDS = 15 * 60.0
#: PostgreSQL's lock_not_available and deadlock_detected: a migration of several tables meets both.
_LOCKED = ("55P03", "40P01")
_BLOCKERS = """
SELECT string_agg(DISTINCT format('%s (pid %s)', coalesce(nullif(application_name, ''), 'a session'), pid), ', ')
FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'relation' AND granted AND pid <> pg_backend_pid() AND datname = current_database()
    AND state <> 'idle' AND xact_start < now() - interval '1 second'
"""

_SCRIPTS = Path(__file__).parent.parent / "schema" / "migrations"

log = structlog.get_logger(__name__)


class SchemaLockedError(Exception):
    """Another session keeps a lock for longer than a migration waits; the message says the fix."""


def migrate(database_url: str, patience_seconds: float = PATIENCE_SECONDS) -> None:
    """Apply what is missing. A second process waits for the first and then finds nothing to do.

    Raises SchemaLockedError when other sessions keep a table locked for longer than `patience_seconds`.
    """
    engine = build_engine(database_url, pool_size=2, application="nouba migrate")
    guarding = engine.execution_options(isolation_level="AUTOCOMMIT")
    try:
        with guarding.connect() as guard:
            # Not by a statement that waits: its snapshot would hold up CREATE INDEX CONCURRENTLY for ever.
            while not guard.exec_driver_sql("SELECT pg_try_advisory_lock(%s)", (LOCK,)).scalar_one():
                time.sleep(0.1)
            try:
                _upgrade_patiently(engine, guard, patience_seconds)
            finally:
                guard.exec_driver_sql("SELECT pg_advisory_unlock(%s)", (LOCK,))
    finally:
        engine.dispose()


def _upgrade_patiently(engine: Engine, guard: Connection, patience_seconds: float) -> None:
    deadline = time.monotonic() + patience_seconds
    while True:
        try:
            _upgrade(engine)
            return
        except OperationalError as error:
            if _sqlstate(error) not in _LOCKED:
                raise
            blockers = guard.exec_driver_sql(_BLOCKERS).scalar() or "a session that has just ended"
            if time.monotonic() >= deadline:
                raise SchemaLockedError(
                    f"A migration did not get its table lock within {patience_seconds:.0f} s because of {blockers}. "
                    "What was applied before it stays; run `nouba migrate` again when that session has ended."
                ) from error
            log.warning("a migration waits for a table lock, trying again", held_by=blockers)
            time.sleep(PAUSE_SECONDS)


def _upgrade(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.exec_driver_sql(f"SET lock_timeout = {LOCK_TIMEOUT_MS}")
        connection.commit()
        config = _config()
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        finally:
            # the next who gets this connection has other limits
            connection.invalidate()


def _sqlstate(error: OperationalError) -> str | None:
    origin: Any = error.orig
    return getattr(origin, "pgcode", None)


class SchemaRevisions(NamedTuple):
    """The revision that the database has (None without any), the newest one there is, and whether we know the first."""

    current: str | None
    newest: str
    is_known: bool


def schema_revisions(connection: Connection) -> SchemaRevisions:
    """Where the database stands. A revision that is not known is that of a newer release."""
    scripts = ScriptDirectory.from_config(_config())
    newest = scripts.get_current_head()
    assert newest is not None, "the migrations are part of the package"
    current = MigrationContext.configure(connection).get_current_revision()
    return SchemaRevisions(current, newest, current in {script.revision for script in scripts.walk_revisions()})


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    return config
