"""The ledger is counted alike whether it is read at once, with the wallets that moved, or in ranges, with all."""

import pytest
from hypothesis import HealthCheck, given, settings

from services.stats.days import Days
from services.stats.sections import ledger_entries
from tests.stats.histories import History, schools
from tests.stats.school import Connection, count, load


@settings(deadline=None, max_examples=15, suppress_health_check=list(HealthCheck), report_multiple_bugs=False)
@given(history=schools)
def test_numbers_are_the_same_where_the_ledger_is_read_in_ranges(connection: Connection, history: History) -> None:
    school, zone, day = history
    days = Days(day, day, zone)
    try:
        load(connection, school)
        some = count(connection, days)[day]
        with pytest.MonkeyPatch.context() as monkey:
            # as many as this are too many to be read at once, and none are that few
            monkey.setattr(ledger_entries, "MANY", 0)
            monkey.setattr(ledger_entries, "RANGE", 2)
            assert count(connection, days)[day] == some
    finally:
        connection.rollback()
