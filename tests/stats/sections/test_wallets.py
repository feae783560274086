"""Wallets are counted alike whether few of them moved since the days, and are asked for one by one, or many."""

import pytest
from hypothesis import HealthCheck, given, settings

from services.stats.days import Days
from services.stats.sections import wallets
from tests.stats.histories import History, schools
from tests.stats.school import Connection, count, load


@settings(deadline=None, max_examples=15, suppress_health_check=list(HealthCheck), report_multiple_bugs=False)
@given(history=schools)
def test_wallets_are_the_same_where_all_are_read(connection: Connection, history: History) -> None:
    school, zone, day = history
    days = Days(day, day, zone)
    try:
        load(connection, school)
        some = count(connection, days)[day]
        with pytest.MonkeyPatch.context() as monkey:
            # as many as this are too many to be asked for one by one, and none are that few
            monkey.setattr(wallets, "_MANY", 0)
            assert count(connection, days)[day] == some
    finally:
        connection.rollback()
