"""Every number leads to its rows, and they add up to it: all of it, each key, the rest of the keys, page by page."""

from collections.abc import Iterator
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg2.errors import QueryCanceled
from sqlalchemy.exc import OperationalError

from services.stats.days import Days
from services.stats.errors import RowsTimeoutError
from services.stats.rows import keyset_pagination
from services.stats.rows.read_page import NoRowsError, Page, has_rows, read_page
from services.stats.rows.reader import RowReader
from services.stats.rows.request_model import RowsRequest
from services.stats.rows.row import Row
from services.stats.sections.base import OTHERS, Query
from services.stats.sections.catalogue import find
from shared.runtime.database import build_engine
from tests.stats.conformance.test_conformance import school_of
from tests.stats.histories import History, schools
from tests.stats.school import RULES, Connection, count, load, query_of

DAY = date(2026, 3, 5)
slowly = settings(deadline=None, suppress_health_check=list(HealthCheck), report_multiple_bugs=False)

#: Ratios, means and percentiles are no sums of rows; neither are minutes, which are rounded once, over all videos.
WITHOUT = {
    "payments": {"success_rate", "mean", "credit_p50", "credit_p95", "credit_max"},
    "subscriptions": {
        "customer_churn_30", "gross_mrr_churn_30", "net_mrr_churn_30", "grr_30", "nrr_30", "renewal_rate_30",
    },
    "wallets": {"mean"},
    "lessons": {"completion"},
    "attendance": {"mean_per_session", "attendance_rate"},
    "engagement": {"stickiness", "retention_1", "retention_7", "retention_30", "conversion_30"},
    "content": {"video_minutes", "transcode_p50", "transcode_p95", "transcode_max"},
}  # fmt: skip


def test_every_other_number_has_rows() -> None:
    without = {f"{section.name}.{number.name}" for section, number in find("")}
    without = {name for name in without if not has_rows(name)}
    assert without == {f"{section}.{name}" for section, names in WITHOUT.items() for name in names}


def total(found: list[Row]) -> int:
    return sum(row.amount for row in found)


def identity(row: Row) -> tuple[int, str, str]:
    """Rows of two tables may have one id, and are on one page then, in any order."""
    return row.id, row.source, repr(row)


def pages(read: Any) -> Iterator[Row]:
    """All rows, two at a time."""
    after: int | None = 0
    begun: set[int] = set()
    while after is not None:
        assert after not in begun, "the pages never end"
        begun.add(after)
        page = read(after=after, limit=2)
        yield from page.rows
        after = page.next


@slowly
@given(history=schools, few=st.sampled_from([100_000, 2, -1]))
def test_the_rows_of_a_number_add_up_to_it(connection: Connection, history: History, few: int) -> None:
    """Wallets are added up from the end, from the beginning, or one by one, by how `few` transactions are to read."""
    school, zone, day = history
    days = Days(day, day, zone)
    monkey = pytest.MonkeyPatch()
    try:
        load(connection, school)
        ask = query_of(connection)
        monkey.setattr(keyset_pagination, "_FEW", few)
        for number, value in count(connection, days)[day].items():
            if not has_rows(number):
                continue

            def page(key: str | None = None, number: str = number, **more: Any) -> Page:
                return read_page(ask, RowsRequest(days, RULES, number, key, **{"limit": None, **more}))

            def read(key: str | None = None, **more: Any) -> list[Row]:
                return page(key, **more).rows

            every = read()
            assert total(every) == (sum(value.values()) if isinstance(value, dict) else value), number
            assert sorted(pages(page), key=identity) == sorted(every, key=identity), number
            if isinstance(value, dict):
                assert {key: total(read(key)) for key in value} == value, number
                named = tuple(value)[1:]
                rest = read(OTHERS, named=named)
                assert total(rest) == sum(value.values()) - sum(value[key] for key in named), number
    finally:
        monkey.undo()
        connection.rollback()


def test_no_page_leaves_out_what_was_written_before_an_earlier_transaction(connection: Connection) -> None:
    # Given corrections by workers who book at once, so that entries come in another order than their transactions
    one = {"account": "user_wallet", "kind": "adjustment", "user": 1, "at": "2026-03-05T10:00"}
    load(connection, school_of({"money": [{**one, "amount": 10**number} for number in range(7)]}))
    ask, days = query_of(connection), Days(DAY, DAY, ZoneInfo("UTC"))

    # When the rows of what has added up are read page by page
    found = pages(lambda **more: read_page(ask, RowsRequest(days, RULES, "wallets.total", None, **more)))

    # Then each is there once
    assert sorted(row.amount for row in found) == [10**number for number in range(7)]
    connection.rollback()


@pytest.mark.parametrize(
    ("number", "word"), [("subscriptions.nrr_30", "is no sum of rows: Net revenue"), ("no.number", "No number is")]
)
def test_what_has_no_rows_says_why(connection: Connection, number: str, word: str) -> None:
    with pytest.raises(NoRowsError, match=word):
        read_page(query_of(connection), RowsRequest(Days(DAY, DAY, ZoneInfo("UTC")), RULES, number))


@pytest.mark.parametrize("number", ["wallets.total", "revenue.net"])  # by a query, and by COPY
def test_a_page_that_takes_too_long_is_given_up(database_url: str, number: str) -> None:
    engine = build_engine(database_url, pool_size=2)
    impatient = build_engine(database_url, statement_timeout_ms=300)
    reader = RowReader(engine, RULES, ZoneInfo("UTC"), page_seconds=0.3)
    with engine.begin() as other:
        other.exec_driver_sql("LOCK TABLE ledger_entries")

        with pytest.raises(RowsTimeoutError, match=r"within 0.3 s"):
            reader.read(DAY, number, None, [], 0, 10)
        # who gave no time sees what the server said
        with pytest.raises((OperationalError, QueryCanceled)):
            RowReader(impatient, RULES, ZoneInfo("UTC")).read(DAY, number, None, [], 0, 10)

    assert reader.read(DAY, number, None, [], 0, 10).rows == []
    for one in (engine, impatient):
        one.dispose()


def test_the_statements_of_a_page_share_its_time(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_page(ask: Query, _request: RowsRequest) -> None:
        for _ in range(2):
            ask("SELECT pg_sleep(1.2)")

    monkeypatch.setattr("services.stats.rows.reader.read_page", read_page)
    engine = build_engine(database_url, pool_size=1)

    with pytest.raises(RowsTimeoutError):
        RowReader(engine, RULES, ZoneInfo("UTC"), page_seconds=2).read(DAY, "any", None, [], 0, 10)
    engine.dispose()
