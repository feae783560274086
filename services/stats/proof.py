"""Proves a share of the kept days every night: by and by each of them is compared with a rebuild from the facts.

A difference is reported, not repaired. Somebody changed the past: facts that were altered where none may be, or a
program that counts in another way. Which of the two it was is lost once the day is computed again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import structlog
from sqlalchemy import Connection, Engine, bindparam, func, select, update

from services.stats.backfill import verify
from services.stats.compute import CHUNK_DAYS, Computation
from services.stats.definitions import REVISION
from services.stats.metrics import VERIFIED_DAYS, show_proof
from services.stats.snapshots import SqlShelf
from shared.schema.tables import changed_days, daily_stats, daily_stats_newest

log = structlog.get_logger(__name__)

#: Each day is proved once in so many nights.
NIGHTS = 28
#: A share is proved when none was for so long; less than a day, so that it does not wander through the day.
EVERY = timedelta(hours=20)
#: More than what is told of one night is for `nouba stats verify`.
_TOLD = 10


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known about all kept days: differences that stand, and when a share was last proved."""

    differences: int
    last_at: datetime | None


def prove_share(engine: Engine, computation: Computation) -> int:
    """Compare the days whose turn it is, if a night has passed since the last share; returns how many they were."""
    with engine.connect() as connection:
        share = _share(connection)
    if share is None:
        _show(engine)
        return 0
    first, last = share
    verdict = verify(SqlShelf(engine), computation, first, last, lambda done, total: None)
    with engine.begin() as connection:
        proved = _note(connection, first, last, {day: len(found) for day, found in verdict.differing.items()})
    VERIFIED_DAYS.inc(proved)
    for day, found in list(verdict.differing.items())[:_TOLD]:
        log.error(
            "a kept day differs from the facts: find out who changed them, then run `nouba stats compute`",
            day=str(day),
            numbers=sorted(found)[:_TOLD],
        )
    log.info("days proved", first=str(first), last=str(last), differing=len(verdict.differing))
    _show(engine)
    return proved


def standing(connection: Connection) -> Standing:
    """What the proofs so far have found."""
    table = daily_stats_newest
    row = connection.execute(
        select(func.coalesce(func.sum(table.c.differences), 0), func.max(table.c.verified_at))
    ).one()
    return Standing(int(row[0]), row[1])


def _share(connection: Connection) -> tuple[date, date] | None:
    """The run of days that were not proved for the longest time; None before the next night."""
    table, kept = daily_stats_newest, daily_stats
    # a day that is due is going to be compared anyway, and one of older definitions cannot be
    comparable = (
        select(table.c.day, table.c.verified_at)
        .join(kept, (kept.c.day == table.c.day) & (kept.c.version == table.c.version))
        .where(
            kept.c.payload["definitions"].as_integer() == REVISION,
            ~table.c.failed,
            ~select(changed_days).where(changed_days.c.day == table.c.day).exists(),
        )
        .subquery()
    )
    query = select(func.count(), func.max(comparable.c.verified_at) > func.now() - EVERY).select_from(comparable)
    number, lately = connection.execute(query).one()
    if not number or lately:
        return None
    oldest = comparable.c.verified_at.asc().nulls_first()
    first: date = connection.scalars(select(comparable.c.day).order_by(oldest, comparable.c.day).limit(1)).one()
    length = min(CHUNK_DAYS, -(-number // NIGHTS))
    after = select(comparable.c.day).where(comparable.c.day >= first).order_by(comparable.c.day).limit(length)
    days = connection.scalars(after).all()
    # one run without a gap, so that it is one pass over the facts
    last = first
    for number, day in enumerate(days):
        if day != first + timedelta(days=number):
            break
        last = day
    return first, last


def _note(connection: Connection, first: date, last: date, differing: Mapping[date, int]) -> int:
    table = daily_stats_newest
    of_share = table.c.day.between(first, last)
    done = connection.execute(update(table).where(of_share).values(verified_at=func.now(), differences=0))
    if differing:
        connection.execute(
            update(table).where(table.c.day == bindparam("of_day")).values(differences=bindparam("found")),
            [{"of_day": day, "found": found} for day, found in differing.items()],
        )
    return int(done.rowcount)


def _show(engine: Engine) -> None:
    with engine.connect() as connection:
        found = standing(connection)
    show_proof(found.differences, found.last_at)
