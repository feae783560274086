"""Remembers which days' facts changed, so that their statistics are computed again."""

from collections.abc import Iterable
from datetime import date
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Engine, func, select
from sqlalchemy.dialects.postgresql import insert

from services.stats.days import day_of
from shared.schema.tables import changed_days, payments


def note_payment(engine: Engine, payment_id: int, day: date, zone: ZoneInfo) -> None:
    """The payment changed, and so did `day`; what became of it counts in the day in which it was begun as well."""
    with engine.begin() as connection:
        begun_at = connection.scalar(select(payments.c.created_at).where(payments.c.id == payment_id))
        mark(connection, {day} if begun_at is None else {day, day_of(begun_at, zone)})


def note_day(engine: Engine, day: date) -> None:
    """The facts of `day` changed."""
    with engine.begin() as connection:
        mark(connection, [day])


def mark(connection: Connection, days: Iterable[date]) -> None:
    """The facts of `days` changed now. In order, so that two of these never wait for each other."""
    rows = [{"day": day} for day in sorted(days)]
    if rows:
        changed = {"changes": changed_days.c.changes + 1, "changed_at": func.now()}
        statement = insert(changed_days).on_conflict_do_update(index_elements=["day"], set_=changed)
        connection.execute(statement, rows)
