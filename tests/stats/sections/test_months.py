"""A term of a calendar month is one month in every part of the year."""

from datetime import date, datetime
from functools import partial
from zoneinfo import ZoneInfo

import pytest

from services.stats.days import Days
from tests.stats.school import Connection, count

PARIS = ZoneInfo("Europe/Paris")
at = partial(datetime, tzinfo=PARIS)

_SUBSCRIBE = """
INSERT INTO users DEFAULT VALUES;
INSERT INTO subscriptions (user_id, amount_minor, status, activated_at, ends_at) VALUES (1, 3000, 'active', %s, %s)
"""


@pytest.mark.parametrize(
    ("begins", "ends", "mrr"),
    [
        # 31 days and an hour: the clocks are turned back in between
        (at(2026, 10, 1), at(2026, 11, 1), 3000),
        # and 31 days less an hour
        (at(2026, 3, 1), at(2026, 4, 1), 3000),
        (at(2026, 7, 1), at(2026, 8, 1), 3000),
        (at(2026, 10, 1), at(2026, 11, 1, 0, 0, 1), 1500),
        (at(2026, 10, 1), at(2026, 12, 2), 1500),
    ],
)
def test_a_month_with_the_hour_that_ends_summer_time_is_one_month(
    connection: Connection, begins: datetime, ends: datetime, mrr: int
) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_SUBSCRIBE, (begins, ends))
    middle = date(begins.year, begins.month, 5)

    assert count(connection, Days(middle, middle, PARIS))[middle]["subscriptions.mrr"] == mrr


@pytest.mark.parametrize(
    ("amount_minor", "begins", "ends", "mrr"),
    [
        (3000, at(2026, 1, 1), "infinity", 3000),
        (0, at(2026, 1, 1), "infinity", 0),
        (3000, "-infinity", None, 3000),
        # long before the instants that PostgreSQL counts from
        (3000, at(1969, 1, 1), None, 3000),
    ],
)
def test_a_term_for_ever_counts_with_its_amount(
    connection: Connection, amount_minor: int, begins: object, ends: object, mrr: int
) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_SUBSCRIBE.replace("3000", str(amount_minor)), (begins, ends))
    day = date(2026, 7, 5)

    found = count(connection, Days(day, day, PARIS))[day]
    assert (found["subscriptions.mrr"], found["subscriptions.active"]) == (mrr, 1)
