"""Computations wait for their turn, so that an older reading is never kept after a newer one."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime

import pytest
from sqlalchemy import Engine, text

from services.stats.settings import CountSettings
from services.stats.snapshots import postgres_snapshots
from services.stats.snapshots.compute import Computation
from services.stats.snapshots.wiring import build_computation
from shared.runtime.database import build_engine
from tests.waiting import wait_until

LAST = date(2026, 3, 10)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = build_engine(database_url, pool_size=8)
    yield engine
    engine.dispose()


@pytest.fixture
def computation(engine: Engine, database_url: str) -> Computation:
    settings = CountSettings(database_url=database_url)
    return build_computation(engine, settings, now=lambda: datetime(2026, 3, 11, 11, tzinfo=UTC))


def test_a_version_says_when_it_was_kept_and_not_when_its_computation_began_to_wait(
    engine: Engine, computation: Computation
) -> None:
    with ThreadPoolExecutor(1) as pool:
        with postgres_snapshots.open_book(engine):
            waiting = pool.submit(computation.compute, LAST, LAST)
            wait_until(lambda: waits_for_its_turn(engine))
            with engine.connect() as connection:
                let_go_at = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
        waiting.result(30)
    found = postgres_snapshots.on(engine, LAST)
    assert found is not None
    assert found.computed_at > let_go_at


def waits_for_its_turn(engine: Engine) -> bool:
    query = "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)"
    with engine.connect() as connection:
        return bool(connection.execute(text(query)).scalar_one())
