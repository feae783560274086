"""Bring a database to the newest schema; safe to run from many processes at once."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import text

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
            config = Config()
            config.set_main_option("script_location", str(_SCRIPTS))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    finally:
        engine.dispose()
