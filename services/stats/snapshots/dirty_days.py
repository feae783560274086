"""Invalidates days whose facts changed."""

from collections.abc import Iterable, Sequence
from datetime import date
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Connection, Engine, or_, select

from services.stats.days import FIRST_DAY, ONE_DAY, day_of
from services.stats.errors import DayNotOverError, RefusedDayError
from shared.contracts.payments import PaymentsSettled
from shared.schema.tables import changed_days, late_days

_MARK = """
INSERT INTO changed_days (day) SELECT unnest(%(days)s::date[])
ON CONFLICT (day) DO UPDATE SET changes = changed_days.changes + 1, changed_at = now()
"""

# In order here too. A row that another one gathers is waited for, and then gone.
_GATHER = """
WITH late AS (DELETE FROM late_days RETURNING first_day, last_day),
     runs AS (SELECT DISTINCT greatest(first_day, %(not_before)s) AS first_day, last_day FROM late)
INSERT INTO changed_days (day)
SELECT DISTINCT first_day + number AS day FROM runs, generate_series(0, last_day - first_day) AS number ORDER BY day
ON CONFLICT (day) DO UPDATE SET changes = changed_days.changes + 1, changed_at = now()
"""


def note_payments(engine: Engine, settled: Sequence[PaymentsSettled], zone: ZoneInfo) -> None:
    """The payments changed, and so did their days; what became of one counts in the day in which it was begun as well.

    All together: there are few days, and every message on its own would wait for the others to let go of the same one.
    """
    ids = [payment_id for one in settled for payment_id in one.payment_ids]
    with engine.begin() as connection:
        begun = connection.exec_driver_sql("SELECT created_at FROM payments WHERE id = ANY(%(ids)s)", {"ids": ids})
        days = {day for one in settled for day in one.days}
        mark(connection, days | {day_of(begun_at, zone) for begun_at in begun.scalars()})


def note_day(engine: Engine, day: date) -> None:
    """The facts of `day` changed."""
    with engine.begin() as connection:
        mark(connection, [day])


def note_days(engine: Engine, first: date, last: date, yesterday: date) -> int:
    """The facts of all days from `first` to `last` changed; returns how many they are."""
    if last < first:
        raise RefusedDayError(f"{last} is before {first}; give the earlier day first.")
    if last > yesterday:
        raise DayNotOverError(last, yesterday)
    days = [first + ONE_DAY * number for number in range((last - first).days + 1)]
    with engine.begin() as connection:
        mark(connection, days)
    return len(days)


def gather_late(engine: Engine, first_day: date = FIRST_DAY) -> None:
    """Mark the days of which the database has noted that the school wrote late into them; none before `first_day`.

    In a transaction of its own: what is marked makes others wait until it ends.
    """
    with engine.begin() as connection:
        connection.exec_driver_sql(_GATHER, {"not_before": first_day})


def is_changed(day: ColumnElement[date]) -> ColumnElement[bool]:
    """Whether facts of `day` are known to have changed; also where that is not gathered yet."""
    return or_(
        select(changed_days).where(changed_days.c.day == day).exists(),
        select(late_days).where(day.between(late_days.c.first_day, late_days.c.last_day)).exists(),
    )


def mark(connection: Connection, days: Iterable[date]) -> None:
    """The facts of `days` changed now. In order, so that two of these never wait for each other."""
    if ordered := sorted(set(days)):
        connection.exec_driver_sql(_MARK, {"days": ordered})
