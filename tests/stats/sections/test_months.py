"""What a term brings a month: calendar months are months in every part of the year, and so are thirty days."""

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
        (at(2026, 2, 1), at(2026, 3, 1), 3000),
        (at(2026, 1, 31), at(2026, 2, 28), 3000),
        (at(2026, 5, 1, 11), at(2026, 5, 31, 11), 3000),
        # calendar years are twelve months, quarters three
        (at(2026, 1, 1), at(2027, 1, 1), 250),
        (at(2026, 1, 1), at(2026, 4, 1), 1000),
        # every other length by 30 days: 32 days, 45 days, a week, a day, half a day
        (at(2026, 1, 1), at(2026, 2, 2), 2813),
        (at(2026, 1, 1), at(2026, 2, 15), 2000),
        (at(2026, 1, 5), at(2026, 1, 12), 12857),
        (at(2026, 1, 5), at(2026, 1, 6), 90_000),
        (at(2026, 1, 5), at(2026, 1, 5, 12), 90_000),
        # a second, or an hour of the clock, more than a month
        (at(2026, 10, 1), at(2026, 11, 1, 0, 0, 1), 2899),
        (at(2026, 10, 1), at(2026, 12, 2), 1451),
    ],
)
def test_a_term_brings_what_was_paid_by_its_months(
    connection: Connection, begins: datetime, ends: datetime, mrr: int
) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_SUBSCRIBE, (begins, ends))
    middle = begins.date()

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
