"""A day counts on from what the month before has left, and from nothing of it that changed since."""

import random
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import psycopg2
import pytest
from sqlalchemy import Engine, text

from services.stats.days import Days
from services.stats.sections import mrr
from services.stats.sections.base import DayState, Query
from services.stats.settings import CountSettings
from services.stats.snapshots import postgres_snapshots
from services.stats.snapshots.compute import Computation
from services.stats.snapshots.dirty_days import note_day
from services.stats.snapshots.wiring import build_computation
from shared.operations.retention.erase_user import erase_user
from shared.runtime.database import build_engine
from tests.stats.school import load
from tests.stats.sections.test_reconciliation import FIRST, random_acts, simulate
from tests.variations import variations

#: A day on which user 1 comes, and the one after it, on which nobody does.
CAME, NEXT = date(2026, 3, 9), date(2026, 3, 10)
NOON = datetime(2026, 3, 9, 11, tzinfo=UTC)
USERS = 3


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = build_engine(database_url, pool_size=8)
    with engine.begin() as connection:
        for _ in range(USERS):
            connection.execute(text("INSERT INTO users (created_at) VALUES (:at)"), {"at": NOON - timedelta(days=90)})
        connection.execute(text("DELETE FROM late_days"))
    yield engine
    engine.dispose()


@pytest.fixture
def computation(engine: Engine, database_url: str) -> Computation:
    settings = CountSettings(database_url=database_url)
    return build_computation(engine, settings, now=lambda: datetime(2026, 3, 11, 11, tzinfo=UTC))


def behind_our_back(engine: Engine, statement: str, **values: Any) -> None:
    """Change facts without a trigger that notes it."""
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text(statement), values)


def come(engine: Engine, user_id: int, at: datetime = NOON) -> None:
    behind_our_back(
        engine,
        "INSERT INTO payments (provider, provider_reference, user_id, amount_minor, credited_minor, status, created_at,"
        " completed_at) VALUES ('satim', :reference, :user, 100, 100, 'completed', :at, :at)",
        reference=f"{user_id}-{at}",
        user=user_id,
        at=at,
    )


def kept_days(engine: Engine) -> list[date]:
    with engine.connect() as connection:
        return list(connection.scalars(text("SELECT day FROM daily_states ORDER BY day")))


def monthly(engine: Engine, day: date = NEXT) -> int:
    found = postgres_snapshots.on(engine, day)
    assert found is not None
    return int(found.payload["sections"]["engagement"]["numbers"]["monthly"])


def test_the_next_day_counts_on_from_what_is_kept(engine: Engine, computation: Computation) -> None:
    come(engine, 1)
    computation.compute(CAME, CAME)
    behind_our_back(engine, "DELETE FROM payments")
    computation.compute(NEXT, NEXT)
    assert monthly(engine) == 1, "the day before was read again"


def test_what_is_kept_of_a_changed_day_is_not_used(engine: Engine, computation: Computation) -> None:
    come(engine, 1)
    computation.compute(CAME, CAME)
    behind_our_back(engine, "DELETE FROM payments")
    note_day(engine, CAME)
    computation.compute(NEXT, NEXT)
    assert monthly(engine) == 0


def test_what_the_school_wrote_late_is_seen_before_it_is_gathered(engine: Engine, computation: Computation) -> None:
    come(engine, 1)
    computation.compute(CAME, CAME)
    behind_our_back(engine, "DELETE FROM payments")
    behind_our_back(engine, "INSERT INTO late_days (first_day, last_day) VALUES (:day, :day)", day=CAME)
    reading = computation.facts.read(Days(NEXT, NEXT, computation.zone), {}, {CAME: DayState(b"\xff")})
    section = reading.sections["engagement"]
    assert isinstance(section, dict)
    assert section[NEXT]["monthly"] == 0


def test_a_rebuild_reads_the_facts_alone(engine: Engine, computation: Computation) -> None:
    come(engine, 1)
    computation.compute(CAME, CAME)
    behind_our_back(engine, "DELETE FROM payments")
    rebuilt = computation.rebuild(NEXT, NEXT)[NEXT]
    assert rebuilt["sections"]["engagement"]["numbers"]["monthly"] == 0


def test_other_users_make_the_days_after_them_due_although_no_number_of_their_day_changes(
    engine: Engine, computation: Computation
) -> None:
    come(engine, 1)
    come(engine, 2, NOON + timedelta(days=1))
    computation.compute(CAME, NEXT)
    assert monthly(engine) == 2
    behind_our_back(engine, "UPDATE payments SET user_id = 2")
    computation.compute(CAME, CAME)
    with engine.connect() as connection:
        assert NEXT in postgres_snapshots.find_due(connection, CAME, NEXT)
    computation.compute_due(NEXT)
    assert monthly(engine) == 1


def test_a_user_who_registers_after_having_come_counts(engine: Engine, computation: Computation) -> None:
    behind_our_back(
        engine,
        "INSERT INTO lesson_views (viewer, course_id, day, played_ms, parts)"
        " VALUES ('4', 1, :day, 1000, B'1'::bit(100))",
        day=CAME,
    )
    computation.compute(CAME, CAME)
    behind_our_back(engine, "INSERT INTO users (created_at) VALUES (:at)", at=NOON - timedelta(days=90))
    computation.compute(NEXT, NEXT)
    assert monthly(engine) == 1


def test_only_the_last_month_is_kept_and_the_erasure_of_a_person_empties_it(
    engine: Engine, computation: Computation
) -> None:
    computation.compute(NEXT - timedelta(days=40), NEXT)
    assert kept_days(engine) == [NEXT - timedelta(days=number) for number in range(29, -1, -1)]
    erase_user(engine, 1, who="owner", why="asked for it")
    assert kept_days(engine) == []


@pytest.mark.parametrize("seed", variations(range(6), [0]))
def test_each_day_counts_on_as_if_it_read_everything(
    seed: int, engine: Engine, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)
    school = simulate([random_acts(chance) for _ in range(20)])
    with closing(psycopg2.connect(database_url)) as connection, connection:
        connection.cursor().execute("SET session_replication_role = replica; TRUNCATE users, late_days CASCADE")
        load(connection, school)
    settings = CountSettings(database_url=database_url)
    computation = build_computation(engine, settings, now=lambda: datetime(2028, 1, 1, tzinfo=UTC))
    read = mrr.read_month_before
    counted_on: list[date] = []

    def note(ask: Query, days: Days, grace_days: int) -> mrr.MonthBefore | None:
        if found := read(ask, days, grace_days):
            counted_on.extend(days)
        return found

    monkeypatch.setattr(mrr, "read_month_before", note)
    computation.compute(FIRST, FIRST + timedelta(days=mrr.MAX_KEPT - 1))
    days = [FIRST + timedelta(days=number) for number in range(mrr.MAX_KEPT, 120)]
    at = 0
    while at < len(days):
        run = days[at : at + chance.choice((1, 1, 2, mrr.MAX_COUNTED_ON))]
        computation.compute(run[0], run[-1])
        at += len(run)
    assert counted_on == days, "a month of terms was read again"
    rebuilt = computation.rebuild(days[0], days[-1])
    for day in days:
        found = postgres_snapshots.on(engine, day)
        assert found is not None
        assert found.payload["sections"] == rebuilt[day]["sections"], day


def test_another_grace_counts_on_from_nothing(engine: Engine, database_url: str) -> None:
    for grace_days in (7, 3):
        settings = CountSettings(database_url=database_url, stats_grace_days=grace_days)
        computation = build_computation(engine, settings, now=lambda: datetime(2026, 3, 11, 11, tzinfo=UTC))
        computation.compute(CAME - timedelta(days=mrr.MAX_KEPT - 1), CAME)
        with engine.connect() as connection:
            states = postgres_snapshots.PostgresSnapshotStore(connection).states(Days(NEXT, NEXT, computation.zone))
        zeros = {f"subscriptions.{name}": 0 for name in ("renewals_due", "renewals")}
        ask = Query(_nobody, _nobody, dict.fromkeys(states, zeros), states=states)
        month = Days(NEXT, NEXT, computation.zone)
        assert mrr.read_month_before(ask, month, grace_days) is not None
        assert mrr.read_month_before(ask, month, grace_days + 1) is None


def _nobody(*_: Any) -> Any:
    raise AssertionError("nothing has to be asked")


def test_subscribers_are_the_same_after_having_been_kept_in_whatever_order_they_came() -> None:
    parts = [mrr.Subscribers(np.array(users), np.array(amounts)) for users, amounts in (
        ([3, 19, 2**40], [5, 1, 2**50]), ([-7, 1], [2, 9]), ([], []),
    )]  # fmt: skip
    packed = [part.packed() for part in parts]
    joined = mrr.join_packed(packed)
    assert joined == mrr.join_packed(packed[::-1])
    found = mrr.Subscribers.unpacked(joined)
    assert found.users.tolist() == [-7, 1, 3, 19, 2**40]
    assert found.amounts.tolist() == [2, 9, 5, 1, 2**50]
