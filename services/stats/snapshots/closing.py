"""Closes months: their days stay as they are, and what comes later is a correction in the open month.

A closed day keeps the version that is shown. It is still counted whenever its facts change, in versions of its own
(`facts_version`), so that what came late is known, number by number; see `closed_day_corrections`.
"""

from datetime import date, datetime
from zoneinfo import ZoneInfo

import structlog
from sqlalchemy import Connection, Engine, and_, func, insert, select, update

from services.stats.days import ONE_DAY, last_of_month, midnight, yesterday
from services.stats.errors import MonthNotClosableError
from services.stats.sections.catalogue import REVISION
from services.stats.snapshots.dirty_days import gather_late
from services.stats.snapshots.postgres_snapshots import LOCK, PostgresSnapshotStore, find_due
from shared.schema.tables import closed_months, daily_stats, daily_stats_newest

log = structlog.get_logger(__name__)

#: Who closes a month that no operator closes.
SCHEDULE = "schedule"


def close(engine: Engine, month: date, closed_by: str, last: date) -> list[date]:
    """Close `month`, and every earlier one that is open; returns their first days. `last` is the last day that is over.

    Raises MonthNotClosableError where a day of them is not counted as the facts are known.
    """
    if last_of_month(month) > last:
        raise MonthNotClosableError(f"{month:%Y-%m} is not over; close it from {last_of_month(month) + ONE_DAY} on.")
    gather_late(engine)
    with engine.begin() as connection:
        connection.execute(select(func.pg_advisory_xact_lock(LOCK)))
        return _close(connection, month, closed_by)


def close_due(engine: Engine, zone: ZoneInfo, now: datetime, closing_day: int) -> list[date]:
    """Close the months whose closing day has come; none while days are computed: the next sweep does.

    A month before the statistics were first computed here is closed with the first one after that: an import of
    the history of years has time until then.
    """
    month = _due_month(now, zone, closing_day)
    with engine.begin() as connection:
        done = connection.scalar(select(func.max(closed_months.c.month)))
        begun_at = connection.scalar(select(func.min(daily_stats.c.computed_at))) if done is None else None
        closes_at = midnight(closes_on(month, closing_day), zone)
        if month <= (done or date.min) or (done is None and (begun_at is None or begun_at >= closes_at)):
            return []
        if not connection.scalar(select(func.pg_try_advisory_xact_lock(LOCK))):
            return []
        try:
            return _close(connection, month, SCHEDULE)
        except MonthNotClosableError as error:
            log.info("month is not closed yet", month=f"{month:%Y-%m}", reason=str(error))
            return []


def closes_on(month: date, closing_day: int) -> date:
    """The day on which the schedule closes `month`, which is given by its first day."""
    return (last_of_month(month) + ONE_DAY).replace(day=closing_day)


def next_month(done: date | None, begun_on: date, closing_day: int) -> date:
    """The month that the schedule closes next, and every earlier open one with it.

    It is the one after the last closed month, `done`; before any is closed, the first one whose closing day comes after
    the day on which the statistics were first computed here.
    """
    if done is not None:
        return last_of_month(done) + ONE_DAY
    month = (begun_on.replace(day=1) - ONE_DAY).replace(day=1)
    return month if closes_on(month, closing_day) > begun_on else begun_on.replace(day=1)


def _due_month(now: datetime, zone: ZoneInfo, closing_day: int) -> date:
    today = yesterday(now, zone) + ONE_DAY
    month = today.replace(day=1) - ONE_DAY
    if today.day < closing_day:
        month = month.replace(day=1) - ONE_DAY
    return month.replace(day=1)


def _close(connection: Connection, month: date, closed_by: str) -> list[date]:
    closed_until = PostgresSnapshotStore(connection).closed_until()
    first_kept = connection.scalar(
        select(func.min(daily_stats_newest.c.day)).where(daily_stats_newest.c.version.is_not(None))
    )
    if first_kept is None:
        raise MonthNotClosableError("Nothing is kept yet; compute days with: nouba stats compute FROM TO")
    first, last = first_kept if closed_until is None else closed_until + ONE_DAY, last_of_month(month)
    if last < first:
        return []
    _refuse_open_days(connection, first, last)
    months, begin = [], first.replace(day=1)
    while begin <= last:
        months.append(begin)
        begin = last_of_month(begin) + ONE_DAY
    connection.execute(insert(closed_months), [{"month": one, "closed_by": closed_by} for one in months])
    table = daily_stats_newest
    connection.execute(update(table).where(table.c.day.between(first, last)).values(facts_version=table.c.version))
    log.info("months closed", first=f"{months[0]:%Y-%m}", last=f"{months[-1]:%Y-%m}", closed_by=closed_by)
    return months


def _refuse_open_days(connection: Connection, first: date, last: date) -> None:
    if due := find_due(connection, first, last):
        raise MonthNotClosableError(f"{len(due)} days are due, the first is {due[0]}; the worker computes them.")
    newest, kept = daily_stats_newest, daily_stats
    older = connection.scalar(
        select(func.min(newest.c.day))
        .join(kept, and_(kept.c.day == newest.c.day, kept.c.version == newest.c.version))
        .where(newest.c.day.between(first, last), kept.c.payload["definitions"].as_integer() != REVISION)
    )
    if older is not None:
        raise MonthNotClosableError(
            f"{older} was counted by older definitions; compute it again with: nouba stats compute {older} {last}"
        )
