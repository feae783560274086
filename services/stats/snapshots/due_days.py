"""Finds missing, failed and invalidated days, and enqueues them, oldest first."""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import TIMESTAMP, Connection, Engine, and_, cast, delete, func, or_, select

from services.stats.days import FIRST_DAY, ONE_DAY, day_of, midnight, yesterday
from services.stats.metrics import users_too_old
from services.stats.snapshots.compute import CHUNK_DAYS
from services.stats.snapshots.dirty_days import gather_late, mark
from services.stats.snapshots.postgres_snapshots import find_due, first_fact, users_registered_before
from shared.contracts.routes import STATS
from shared.contracts.stats import ComputeDay
from shared.messaging import outbox
from shared.runtime.failpoints import failpoint
from shared.schema.tables import changed_days, daily_stats_newest

#: The last days are compared again and again, because not everybody who writes a fact late says so.
COMPARED_EVERY = timedelta(hours=1)


def sweep(engine: Engine, zone: ZoneInfo, now: datetime, lookback_days: int, first_day: date = FIRST_DAY) -> list[date]:
    """The days that are due; a message is enqueued for the first of every run of them.

    Many sweeps at once, and messages that come twice, do no harm: a message asks only for what is still due.
    No day before `first_day` is: a user who registered then is a mistake, which must not cost a thousand years.
    """
    last = yesterday(now, zone)
    gather_late(engine, first_day)
    with engine.begin() as connection:
        opened_at = midnight(first_day, zone)
        users_too_old(users_registered_before(connection, opened_at))
        begun_at = first_fact(connection, opened_at)
        if begun_at is None:
            return []
        failpoint("sweep.before_scan")
        # what was kept before the first fact is checked too: the user who was the first may be gone
        first_kept = connection.scalar(select(func.min(daily_stats_newest.c.day)))
        first = max(first_day, min(day_of(begun_at, zone), first_kept or date.max))
        # of a day that nobody counts, such as the one before the first fact, no computation takes the mark away
        connection.execute(delete(changed_days).where(changed_days.c.day < first))
        mark(connection, _not_compared_lately(connection, last, lookback_days, zone))
        due = find_due(connection, first, last)
        for day in runs(due):
            outbox.enqueue(connection, STATS, ComputeDay(day=day))
        failpoint("sweep.before_commit")
    failpoint("sweep.after_commit")
    return due


def runs(days: list[date]) -> list[date]:
    """The first day of every run of consecutive days, and of every CHUNK_DAYS within a long one."""
    first: list[date] = []
    before, length = None, 0
    for day in days:
        if before is None or day != before + ONE_DAY or length == CHUNK_DAYS:
            first.append(day)
            length = 0
        before, length = day, length + 1
    return first


def _not_compared_lately(connection: Connection, last: date, lookback_days: int, zone: ZoneInfo) -> list[date]:
    """The last days, once an hour; and each older one until it was compared when it was no longer one of them.

    What was written into it while it was, nobody else reports, and we may have been away for all of that time.
    """
    table = daily_stats_newest
    first = last - ONE_DAY * (lookback_days - 1)
    left_at = func.timezone(zone.key, cast(table.c.day + 1 + lookback_days, TIMESTAMP))
    return list(
        connection.scalars(
            select(table.c.day).where(
                or_(
                    and_(table.c.day.between(first, last), table.c.checked_at < func.now() - COMPARED_EVERY),
                    and_(table.c.checked_at < left_at, left_at <= func.now()),
                )
            )
        )
    )
