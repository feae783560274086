"""A section that fails is tried again, and neither forgets what was seen nor says that later days have changed."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text

from services.stats.days import Days
from services.stats.sections import SECTIONS
from services.stats.sections.base import Query, Rules, Values
from services.stats.settings import CountSettings
from services.stats.snapshots import postgres_snapshots
from services.stats.snapshots.backfill import verify
from services.stats.snapshots.compute import Computation
from services.stats.snapshots.postgres_sections import PostgresSections
from services.stats.snapshots.wiring import build_computation
from shared.runtime.database import build_engine
from tests.stats.school import RULES

FIRST, LAST = date(2026, 3, 1), date(2026, 3, 10)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = build_engine(database_url)
    run(engine, "INSERT INTO users (created_at) VALUES ('2026-03-01 11:00+00'), ('2026-03-01 11:00+00')")
    run(engine, "DELETE FROM late_days")
    yield engine
    engine.dispose()


@pytest.fixture
def computation(engine: Engine, database_url: str) -> Computation:
    """Of all days, as of noon of the day after LAST."""
    settings = CountSettings(database_url=database_url)
    made = build_computation(engine, settings, now=lambda: datetime(2026, 3, 11, 11, tzinfo=UTC))
    made.compute(FIRST, LAST)
    return replace(made, now=lambda: datetime(2026, 4, 1, tzinfo=UTC))


def failing(engine: Engine, computation: Computation, name: str) -> Computation:
    """The same, but this section fails."""

    def broken(ask: Query, days: Days, rules: Rules) -> Values:
        raise LookupError("the database is busy")

    sections = tuple(replace(each, compute=broken) if each.name == name else each for each in SECTIONS)
    return replace(computation, facts=PostgresSections(engine, sections, RULES))


def run(engine: Engine, statement: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(statement))


def marked(engine: Engine) -> list[date]:
    with engine.connect() as connection:
        return list(connection.scalars(text("SELECT day FROM changed_days ORDER BY day")))


def numbers(engine: Engine, day: date) -> Any:
    found = postgres_snapshots.on(engine, day)
    assert found is not None
    return found.payload["sections"]["users"]["numbers"]


def test_what_was_seen_at_the_days_end_outlives_versions_in_which_its_section_failed(
    engine: Engine, computation: Computation
) -> None:
    assert numbers(engine, LAST)["by_role"] == {"student": 2}
    run(engine, "UPDATE users SET role = 'admin'")
    for _ in range(2):
        assert failing(engine, computation, "users").compute(LAST, LAST).failed
        # so that there is another version each time
        run(engine, "INSERT INTO sessions (starts_at) VALUES ('2026-03-10 11:00+00')")

    assert not computation.compute(LAST, LAST).failed

    assert numbers(engine, LAST)["by_role"] == {"student": 2}


@pytest.mark.parametrize("name", ["users", "payments", "subscriptions"])
def test_a_section_that_fails_and_recovers_makes_no_later_day_due(
    engine: Engine, computation: Computation, name: str
) -> None:
    failing(engine, computation, name).compute(FIRST, FIRST)
    assert marked(engine) == []
    computation.compute(FIRST, FIRST)
    assert marked(engine) == []


def test_what_changed_while_a_section_failed_still_reaches_the_later_days(
    engine: Engine, computation: Computation
) -> None:
    failing(engine, computation, "users").compute(FIRST, FIRST)
    # while the triggers are off, so that none says so
    move = "UPDATE users SET created_at = created_at + interval '1 day' WHERE id = 1"
    run(engine, f"SET LOCAL session_replication_role = replica; {move}")

    computation.compute(FIRST, FIRST)

    assert marked(engine) == [FIRST + timedelta(days=number) for number in range(1, 10)]
    computation.compute_due(FIRST + timedelta(days=1))
    verdict = verify(postgres_snapshots.PostgresSnapshots(engine), computation, None, None, lambda done, total: None)
    assert (verdict.missing, verdict.differing, verdict.due) == ([], {}, [])
