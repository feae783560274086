"""Bring a database to the newest schema; safe to run from many processes at once."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from shared.runtime.database import build_engine

#: Any number, as long as every copy of Nouba agrees on it.
LOCK = 0x4E4F554241

_SCRIPTS = Path(__file__).parent.parent / "schema" / "migrations"


def migrate(database_url: str) -> None:
    """Apply what is missing. A second process waits for the first and then finds nothing to do."""
    engine = build_engine(database_url, pool_size=2, application="nouba migrate")
    try:
        with engine.connect() as guard, engine.begin() as connection:
            guard.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": LOCK})
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    finally:
        engine.dispose()


def schema_revisions(connection: Connection) -> tuple[str | None, str]:
    """The revision that the database has (None without any), and the newest one there is."""
    newest = ScriptDirectory.from_config(_config()).get_current_head()
    assert newest is not None, "the migrations are part of the package"
    return MigrationContext.configure(connection).get_current_revision(), newest


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    return config
