"""Every night a share of the kept days is compared with the facts; what differs is told and left as it is."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest
from prometheus_client import REGISTRY
from pydantic import SecretStr
from sqlalchemy import Engine, text

from services.stats.assembly import build_computation
from services.stats.compute import Computation
from services.stats.proof import NIGHTS, prove_share, standing
from services.stats.settings import CountSettings
from shared.runtime.database import build_engine

LAST = date(2026, 3, 1) + timedelta(days=2 * NIGHTS - 1)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = build_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO users (created_at) VALUES ('2026-03-05 11:00+00')"))
    yield engine
    engine.dispose()


@pytest.fixture
def computation(engine: Engine, database_url: str) -> Computation:
    """Twice as many days as there are nights, so that a share is two of them."""
    settings = CountSettings(database_url=SecretStr(database_url), currency="DZD")
    made = build_computation(engine, settings, now=lambda: datetime(2027, 1, 1, tzinfo=UTC))
    made.compute(date(2026, 3, 1), LAST)
    return made


def proved(engine: Engine) -> list[tuple[date, int]]:
    query = "SELECT day, differences FROM daily_stats_newest WHERE verified_at IS NOT NULL ORDER BY day"
    with engine.connect() as connection:
        return [(row.day, row.differences) for row in connection.execute(text(query))]


def pass_a_night(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE daily_stats_newest SET verified_at = verified_at - interval '1 day'"))


def test_one_share_is_proved_a_night_however_often_it_is_asked_for(engine: Engine, computation: Computation) -> None:
    assert [prove_share(engine, computation) for _ in range(3)] == [2, 0, 0]
    assert proved(engine) == [(date(2026, 3, 1), 0), (date(2026, 3, 2), 0)]
    with engine.connect() as connection:
        last_at = standing(connection).last_at
    assert last_at is not None
    assert REGISTRY.get_sample_value("nouba_stats_verify_timestamp_seconds") == pytest.approx(last_at.timestamp())


def test_every_day_is_proved_once_before_the_first_is_proved_again(engine: Engine, computation: Computation) -> None:
    for _ in range(NIGHTS):
        assert prove_share(engine, computation) == 2
        pass_a_night(engine)
    assert len(proved(engine)) == 2 * NIGHTS
    prove_share(engine, computation)
    query = "SELECT day FROM daily_stats_newest WHERE verified_at > now() - interval '1 hour' ORDER BY day"
    with engine.connect() as connection:
        assert list(connection.scalars(text(query))) == [date(2026, 3, 1), date(2026, 3, 2)]


def test_a_difference_is_told_and_stands_until_somebody_computes_the_day(
    engine: Engine, computation: Computation
) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE users SET created_at = '2026-02-01 11:00+00'"))
    before = REGISTRY.get_sample_value("nouba_stats_verified_days_total") or 0

    prove_share(engine, computation)

    # users.total, and balance_mean, which a school without users does not have
    assert proved(engine) == [(date(2026, 3, 1), 2), (date(2026, 3, 2), 2)]
    assert REGISTRY.get_sample_value("nouba_stats_verify_differences") == 4
    assert REGISTRY.get_sample_value("nouba_stats_verified_days_total") == before + 2
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT max(version) FROM daily_stats")) == 1, "nothing was computed again"

    computation.compute(date(2026, 3, 1), date(2026, 3, 1))
    pass_a_night(engine)
    prove_share(engine, computation)
    assert proved(engine)[0] == (date(2026, 3, 1), 0)
