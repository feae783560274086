"""Remembers which days' facts changed, so that their statistics are computed again."""

from datetime import date

from sqlalchemy import Engine, func
from sqlalchemy.dialects.postgresql import insert

from shared.schema.tables import changed_days


def mark_changed(engine: Engine, day: date) -> None:
    """The facts of `day` changed now; marking a day twice is marking it once."""
    statement = insert(changed_days).values(day=day)
    with engine.begin() as connection:
        connection.execute(statement.on_conflict_do_update(index_elements=["day"], set_={"changed_at": func.now()}))
