"""Verifies a share of the stored days every night against a rebuild.

A difference is reported, not repaired. Somebody changed the past: facts that were altered where none may be, or a
program that counts in another way. Which of the two it was is lost once the day is computed again.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import structlog
from sqlalchemy import Connection, Engine, func, select, update

from services.stats.metrics import VERIFIED_DAYS, show_proof
from services.stats.sections.catalogue import REVISION
from services.stats.snapshots.backfill import ANNOUNCED_WITHIN_SECONDS, verify
from services.stats.snapshots.compute import CHUNK_DAYS, Computation
from services.stats.snapshots.dirty_days import is_changed
from services.stats.snapshots.postgres_snapshots import COUNTED, PostgresSnapshots
from shared.schema.tables import daily_stats, daily_stats_newest

log = structlog.get_logger(__name__)

#: Each day is proved once in so many nights.
NIGHTS = 28
#: A share is taken when none was for so long; less than a day, so that it does not wander through the day.
EVERY = timedelta(hours=20)
#: Held while a share is proved.
LOCK = 0x4E4F55424156
#: Days this far apart are compared in one pass.
_BRIDGED = timedelta(days=7)
#: More than what is reported of one night is for `nouba stats verify`.
_LOGGED = 10


@dataclass(frozen=True, slots=True)
class VerificationStatus:
    """What is known about all kept days: differences that stand, and when a share was last proved."""

    differences: int
    last_at: datetime | None


def prove_share(
    engine: Engine,
    computation: Computation,
    wait: Callable[[], None] = lambda: time.sleep(ANNOUNCED_WITHIN_SECONDS),
) -> int:
    """Compare the days whose turn it is, if a night has passed since the last share; returns how many they were.

    While one process does so, others that are asked for the same do nothing. `wait`: see `verify`.
    """
    proved = 0
    with _alone(engine) as alone:
        if not alone:
            return 0
        with engine.begin() as connection:
            share = _share(connection)
            _note_try(connection, share)
        for first, last in runs_of(share):
            proved += _prove(engine, computation, first, last, set(share), wait)
    VERIFIED_DAYS.inc(proved)
    with engine.connect() as connection:
        found = verification_status(connection)
    show_proof(found.differences, found.last_at)
    return proved


@contextmanager
def _alone(engine: Engine) -> Iterator[bool]:
    """Whether no other process proves a share, and none does until the end of this."""
    # no transaction holds it: one that is idle for minutes would be ended
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as guard:
        try:
            alone = bool(guard.scalar(select(func.pg_try_advisory_lock(LOCK))))
            yield alone
            if alone:
                guard.execute(select(func.pg_advisory_unlock(LOCK)))
        except BaseException:
            # a connection that goes back with the lock would keep everybody out
            guard.invalidate()
            raise


def _prove(
    engine: Engine, computation: Computation, first: date, last: date, share: set[date], wait: Callable[[], None]
) -> int:
    """Compare one run of days, and note what was found of those that are in the share."""
    verdict = verify(PostgresSnapshots(engine), computation, first, last, lambda done, total: None, wait)
    compared = {day: version for day, version in verdict.compared().items() if day in share}
    differing = {day: found for day, found in verdict.differing.items() if day in compared}
    with engine.begin() as connection:
        proved = _note(connection, compared, {day: len(found) for day, found in differing.items()})
    for day, found in list(differing.items())[:_LOGGED]:
        log.error(
            "a kept day differs from the facts: find out who changed them, then run `nouba stats compute`",
            day=str(day),
            numbers=sorted(found)[:_LOGGED],
        )
    log.info(
        "days proved",
        first=str(first),
        last=str(last),
        differing=len(differing),
        due=len(verdict.due),
        failed=len(verdict.failed),
    )
    return proved


def runs_of(days: Sequence[date]) -> list[tuple[date, date]]:
    """The runs that `days`, in any order, lie in; a short gap does not end one: a run is one pass over the facts."""
    runs: list[tuple[date, date]] = []
    for day in sorted(days):
        if runs and day - runs[-1][1] <= _BRIDGED:
            runs[-1] = (runs[-1][0], day)
        else:
            runs.append((day, day))
    return runs


def verification_status(connection: Connection) -> VerificationStatus:
    """What the proofs so far have found."""
    table = daily_stats_newest
    row = connection.execute(
        select(func.coalesce(func.sum(table.c.differences), 0), func.max(table.c.verified_at))
    ).one()
    return VerificationStatus(int(row[0]), row[1])


def _share(connection: Connection) -> Sequence[date]:
    """The days that were not proved for the longest time; none before the next night."""
    table, kept = daily_stats_newest, daily_stats
    # a day that is due is going to be compared anyway, and one of older definitions cannot be
    comparable = (
        select(*table.c["day", "verified_at", "checked_at", "tried_at"])
        .join(kept, (kept.c.day == table.c.day) & (kept.c.version == COUNTED))
        .where(
            kept.c.payload["definitions"].as_integer() == REVISION,
            ~table.c.failed,
            ~is_changed(table.c.day),
        )
        .subquery()
    )
    if connection.scalar(select(func.max(table.c.tried_at) > func.now() - EVERY)):
        return []
    number = connection.scalar(select(func.count()).select_from(comparable)) or 0
    # What is new was computed just now, and waits for its turn behind the others: days come faster than they are proved
    # if each night begins with its own.
    oldest = func.greatest(comparable.c.tried_at, func.coalesce(comparable.c.verified_at, comparable.c.checked_at))
    length = min(CHUNK_DAYS, -(-number // NIGHTS))
    return connection.scalars(select(comparable.c.day).order_by(oldest, comparable.c.day).limit(length)).all()


def _note_try(connection: Connection, share: Sequence[date]) -> None:
    """Before it is known what comes of it: where all of a share turns out to be due or fails, it has had its night."""
    table = daily_stats_newest
    # in order, as a computation writes them
    for day in sorted(share):
        connection.execute(update(table).where(table.c.day == day).values(tried_at=func.now()))


def _note(connection: Connection, compared: Mapping[date, int], differing: Mapping[date, int]) -> int:
    """Note it of the versions that were compared; one that came meanwhile was not."""
    table = daily_stats_newest
    done = 0
    for day, version in compared.items():
        of_version = update(table).where(table.c.day == day, COUNTED.in_([version]))
        noted = connection.execute(of_version.values(verified_at=func.now(), differences=differing.get(day, 0)))
        done += noted.rowcount
    return done
