"""The SQL of every section finds what the definitions say, for any history, in any zone, for any run of days."""

from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings

from services.stats.days import Days
from tests.stats.histories import History, schools
from tests.stats.oracle import numbers
from tests.stats.school import Connection, count, load

#: A year of study keeps no history, so a run describes its last day alone; no other day could keep it.
LAST_DAY_ALONE = "subscriptions.students_by_year"

slowly = settings(deadline=None, suppress_health_check=list(HealthCheck), report_multiple_bugs=False)


@slowly
@given(history=schools)
def test_every_number_of_every_section_is_what_its_definition_says(connection: Connection, history: History) -> None:
    school, zone, day = history
    days = Days(day - timedelta(days=2), day + timedelta(days=2), zone)
    try:
        load(connection, school)
        found = count(connection, days)
        assert LAST_DAY_ALONE in found[days.last]
        for each in days:
            expected = numbers(school, each, zone, "DZD")
            assert found[each] == (expected if each == days.last else _without(expected)), each
        alone = {each: _without(count(connection, Days(each, each, zone))[each]) for each in (days.first, day)}
        assert alone == {each: found[each] for each in alone}, "a day alone, and within a run"
        before = count(connection, Days(day - timedelta(days=30), day - timedelta(days=1), zone))
        after = Days(day, days.last, zone)
        going_on = count(connection, after, kept=before)
        assert going_on == {each: found[each] for each in after}, "from all facts, and from the days before"
    finally:
        connection.rollback()


def _without(found: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if name != LAST_DAY_ALONE}
