"""A user who is said to have registered before the school's first day costs nothing, and is shown."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import Engine

from services.stats.snapshots.due_days import sweep

ALGIERS = ZoneInfo("Africa/Algiers")
NOW = datetime(2026, 3, 20, 12, tzinfo=UTC)
DUE = [date(2026, 3, 18), date(2026, 3, 19)]


@pytest.mark.parametrize("nonsense", ["0202-03-01", "0044-03-15 BC", "-infinity"])
def test_nonsense_makes_no_day_due(engine: Engine, nonsense: str) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO users (created_at) VALUES ('2026-03-18 09:00+01'), (%s)", (nonsense,))

    for _ in range(2):
        assert sweep(engine, ALGIERS, NOW, lookback_days=3) == DUE

    assert REGISTRY.get_sample_value("nouba_stats_users_too_old") == 1
    with engine.begin() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM changed_days WHERE day < '2000-01-01'").scalar() == 0


def test_the_schools_first_day_is_a_setting(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO users (created_at) VALUES ('2026-03-10 09:00+01'), ('2026-03-18 09:00+01')"
        )

    assert sweep(engine, ALGIERS, NOW, lookback_days=3, first_day=DUE[0]) == DUE
