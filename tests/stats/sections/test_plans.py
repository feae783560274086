"""A day's statements find their rows by an index: no scan of a growing table a day."""

import re
from datetime import date
from zoneinfo import ZoneInfo

import pytest

from services.stats.days import Days
from services.stats.rows import read_page as page
from services.stats.sections import activity_and_retention, payments, teachers
from services.stats.sections.base import span
from tests.stats.school import Connection

DAYS = Days(date(2026, 3, 5), date(2026, 3, 5), ZoneInfo("Africa/Algiers"))
GROWING = ("users", "payments", "sessions", "office_payments", "closed_day_corrections", "attendances")
VALUES = {
    **span(DAYS),
    "currency": "DZD",
    "closes": DAYS.edges[1:],
    "day": DAYS.first,
    "number": "revenue.net",
    "after": 0,
}


@pytest.mark.parametrize(
    "statement",
    [
        payments._OFFICE,
        activity_and_retention._CONVERTED,
        teachers._OWN,
        teachers._TEACHING_DAYS,
        f"{page._CORRECTIONS} day = %(day)s ORDER BY id",
        f"{page._CORRECTIONS} booked_on = %(day)s AND adds_up AND id > %(after)s ORDER BY id",
    ],
)
def test_it_reads_by_an_index(connection: Connection, statement: str) -> None:
    with connection.cursor() as cursor:
        # the tables are empty here: the question is whether an index can answer
        cursor.execute("SET enable_seqscan = off")
        cursor.execute(f"EXPLAIN {statement}", VALUES)
        plan = "\n".join(row[0] for row in cursor.fetchall())
    scanned = set(re.findall(r"Seq Scan on (\w+)", plan)) & set(GROWING)
    assert scanned == set(), plan
