"""What the school writes late makes nobody wait, and is known as soon as it is written."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import Connection, Engine, event, text

from services.stats.days import midnight
from services.stats.settings import CountSettings
from services.stats.snapshots import postgres_snapshots
from services.stats.snapshots.backfill import verify
from services.stats.snapshots.compute import Computation
from services.stats.snapshots.dirty_days import gather_late, mark, note_day
from services.stats.snapshots.due_days import sweep
from services.stats.snapshots.wiring import build_computation
from shared.runtime.database import build_engine
from tests.stats.interrupted import Interrupted

FIRST, LAST = date(2026, 3, 1), date(2026, 3, 31)
EARLIER, LATER = "2026-03-10 11:00+00", "2026-03-20 11:00+00"
NOW = datetime(2026, 4, 1, 11, tzinfo=UTC)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = build_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO users (created_at) VALUES (:at)"), {"at": f"{FIRST} 11:00+00"})
        connection.execute(text("DELETE FROM late_days"))
    yield engine
    engine.dispose()


@pytest.fixture
def impatient(database_url: str) -> Iterator[Engine]:
    """A transaction that waits for a lock here fails."""
    engine = build_engine(database_url, statement_timeout_ms=5_000)
    yield engine
    engine.dispose()


@pytest.fixture
def computation(engine: Engine, database_url: str) -> Computation:
    """All days are kept, and none is due."""
    computation = build_computation(engine, CountSettings(database_url=database_url), now=lambda: NOW)
    computation.compute(FIRST, LAST)
    return computation


def write(connection: Connection, at: str) -> None:
    connection.execute(text("INSERT INTO teachers (created_at) VALUES (:at)"), {"at": at})


def due(engine: Engine) -> list[date]:
    with engine.connect() as connection:
        return postgres_snapshots.find_due(connection, FIRST, LAST)


def around(at: str) -> list[date]:
    day = datetime.fromisoformat(at).date()
    return [day + timedelta(days=shift) for shift in (-1, 0, 1)]


def test_transactions_that_write_late_into_the_same_days_do_not_wait_for_each_other(
    engine: Engine, impatient: Engine
) -> None:
    with impatient.begin() as one, impatient.begin() as other:
        write(one, EARLIER)
        write(other, LATER)
        write(one, LATER)
        write(other, EARLIER)
    assert set(due(engine)) >= {*around(EARLIER), *around(LATER)}


def test_an_import_that_is_not_over_keeps_nobody_waiting(
    engine: Engine, impatient: Engine, computation: Computation, database_url: str
) -> None:
    at_once = build_computation(impatient, CountSettings(database_url=database_url), now=lambda: NOW)
    with engine.begin() as imported:
        write(imported, EARLIER)
        note_day(impatient, date(2026, 3, 10))
        assert sweep(impatient, computation.zone, NOW, lookback_days=3) == [date(2026, 3, 10)]
        assert at_once.compute_due(date(2026, 3, 10)).days == 1
    assert due(engine) == around(EARLIER)


def test_a_day_is_due_from_when_it_was_written_into_until_it_is_computed(
    engine: Engine, computation: Computation
) -> None:
    with engine.begin() as connection:
        write(connection, EARLIER)
    assert due(engine) == around(EARLIER)
    verdict = verify(postgres_snapshots.PostgresSnapshots(engine), computation, FIRST, LAST, lambda done, total: None)
    assert (verdict.differing, verdict.due[0]) == ({}, date(2026, 3, 10))

    assert computation.compute_due(around(EARLIER)[0]).days == 3

    assert due(engine)[0] > around(EARLIER)[-1], "the number of teachers differs in all later days"


def test_what_is_written_late_while_its_day_is_computed_is_not_lost(engine: Engine, computation: Computation) -> None:
    def write_late() -> None:
        with engine.begin() as connection:
            write(connection, EARLIER)
        gather_late(engine)

    note_day(engine, date(2026, 3, 10))
    replace(computation, facts=Interrupted(computation.facts, after=write_late)).compute_due(date(2026, 3, 10))

    assert due(engine) == around(EARLIER)


def test_the_sweep_marks_what_was_written_late_once(engine: Engine, computation: Computation) -> None:
    with engine.begin() as connection:
        for at in (EARLIER, EARLIER, LATER):
            write(connection, at)

    for _ in range(2):
        assert sweep(engine, computation.zone, NOW, lookback_days=3) == around(EARLIER) + around(LATER)

    with engine.connect() as connection:
        marks = connection.execute(text("SELECT day, changes FROM changed_days ORDER BY day")).all()
        assert connection.scalar(text("SELECT count(*) FROM late_days")) == 0
    assert marks == [(day, 1) for day in around(EARLIER) + around(LATER)]


@pytest.mark.parametrize(("hours_after", "is_due"), [(-1, True), (1, False)])
def test_a_day_is_compared_once_more_when_it_is_none_of_the_last_ones_however_late_that_is(
    engine: Engine, computation: Computation, hours_after: int, is_due: bool
) -> None:
    # Given statistics that were away when the day left the last three, or were not
    day = date(2026, 3, 10)
    left_at = midnight(day + timedelta(days=1 + 3), computation.zone)
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE daily_stats_newest SET checked_at = :at WHERE day = :day"),
            {"at": left_at + timedelta(hours=hours_after), "day": day},
        )

    assert sweep(engine, computation.zone, NOW, lookback_days=3) == [day] * is_due

    computation.compute_due(day)
    assert sweep(engine, computation.zone, NOW, lookback_days=3) == []


@contextmanager
def deleted_marks(engine: Engine) -> Iterator[list[date]]:
    """The days of the marks that are taken off meanwhile, in their order."""
    days: list[date] = []

    def note(_connection: object, _cursor: object, statement: str, parameters: dict[str, date], *_: object) -> None:
        if statement.startswith("DELETE FROM changed_days"):
            days.append(parameters["day_1"])

    event.listen(engine, "before_cursor_execute", note)
    yield days
    event.remove(engine, "before_cursor_execute", note)


def test_marks_are_taken_off_in_the_order_in_which_they_are_made(engine: Engine, computation: Computation) -> None:
    days = [LAST - timedelta(days=number) for number in range(5)]
    with engine.begin() as connection:
        for day in days:
            mark(connection, [day])

    with deleted_marks(engine) as deleted:
        computation.compute_due(min(days))

    assert deleted == sorted(days)
