"""Every number leads to its rows, and they add up to it: all of it, each key, the rest of the keys, page by page."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg2.errors import QueryCanceled
from sqlalchemy.exc import OperationalError

from services.stats.api.rows_query import RowsQuery
from services.stats.api.snapshot_cache import Day
from services.stats.days import Days
from services.stats.errors import RowsTimeoutError
from services.stats.rows import keyset_pagination
from services.stats.rows.read_days import DayToRead, read_days
from services.stats.rows.read_page import NoRowsError, Page, are_balances, has_rows, read_page
from services.stats.rows.reader import RowReader
from services.stats.rows.request_model import RowsRequest
from services.stats.rows.row import Row
from services.stats.sections.base import OTHERS, Query
from services.stats.sections.catalogue import Over, find, over
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
            if are_balances(number):
                largest = list(pages(lambda number=number, **more: page(number=number, largest_first=True, **more)))
                assert sorted(largest, key=identity) == sorted(every, key=identity), number
                assert [row.amount for row in largest] == sorted((row.amount for row in every), reverse=True), number
            if isinstance(value, dict):
                assert {key: total(read(key)) for key in value} == value, number
                named = tuple(value)[1:]
                rest = read(OTHERS, named=named)
                assert total(rest) == sum(value.values()) - sum(value[key] for key in named), number
    finally:
        monkey.undo()
        connection.rollback()


@settings(slowly, max_examples=8)
@given(history=schools, days_back=st.integers(1, 2))
def test_the_rows_of_several_days_add_up_to_the_sum_of_the_days(
    connection: Connection, history: History, days_back: int
) -> None:
    school, zone, last = history
    days = Days(last - timedelta(days=days_back), last, zone)
    try:
        load(connection, school)
        values = count(connection, days)
        for number in values[last]:
            if not has_rows(number) or over(number) is not Over.SUM:
                continue
            section, _, name = number.partition(".")
            kept = [kept_day(day, {section: {"numbers": {name: values[day][number]}}}) for day in days]
            keys: set[str] = set().union(*(value for day in days if isinstance(value := values[day][number], dict)))
            for key in [None, *sorted(keys)[:2]]:
                query = RowsQuery(kept, number, key, 0, days.first)
                every = read_range(connection, days, query, None).rows
                assert total(every) == query.value, (number, key)
                # a day that says 0 is left out of a range only where it has no rows
                whole = [DayToRead(one.day, one.named) for one in query.to_read()]
                rest = [row for row in read_range(connection, days, query, None, whole).rows if row not in every]
                assert all(row.amount == 0 for row in rest), (number, key)

            def page(after: int = 0, day: date | None = None, number: str = number, kept: Any = kept) -> Page:
                query = RowsQuery(kept, number, None, after, day or days.first)
                return read_range(connection, days, query, 2)

            paged, found = [], page()
            while found.next is not None:
                paged += found.rows
                found = page(found.next, found.next_day)
            every = read_range(connection, days, RowsQuery(kept, number, None, 0, days.first), None).rows
            by_day = sorted(paged + found.rows, key=lambda row: (row.counted_on, identity(row)))
            assert by_day == sorted(every, key=lambda row: (row.counted_on, identity(row))), number
    finally:
        connection.rollback()


def kept_day(day: date, sections: dict[str, Any]) -> Day:
    found = Day(day, 1, "", b"", datetime(2026, 1, 1, tzinfo=UTC))
    found.__dict__["payload"] = {"sections": sections}
    return found


def read_range(
    connection: Connection, days: Days, query: RowsQuery, limit: int | None, whole: list[DayToRead] | None = None
) -> Page:
    request = RowsRequest(days, RULES, query.number, query.key, after=query.after, limit=limit)
    return read_days(lambda: query_of(connection), whole or query.to_read(), request)


def read_all(connection: Connection, school: dict[str, Any], *numbers: str) -> list[list[Row]]:
    """The rows of each number, of a school whose ledger has two entries in each transaction; also page by page."""
    found = []
    try:
        load(connection, school_of(school))
        cursor = connection.cursor()
        cursor.execute("UPDATE ledger_entries SET transaction_id = (transaction_id + 1) / 2 * 2 - 1")
        cursor.execute("UPDATE payments SET provider_reference = 'reference ' || id")
        ask, days = query_of(connection), Days(DAY, DAY, ZoneInfo("UTC"))
        for number in numbers:
            rows = read_page(ask, RowsRequest(days, RULES, number)).rows
            paged = pages(lambda number=number, **more: read_page(ask, RowsRequest(days, RULES, number, None, **more)))
            assert sorted(paged, key=identity) == sorted(rows, key=identity)
            found.append(rows)
    finally:
        connection.rollback()
    return found


def test_a_dispute_is_a_row_of_what_it_changes(connection: Connection) -> None:
    # Given one dispute that was lost today, and two that are open, one of them since today
    money = []
    for payment, (kind, account, other, at) in (
        (1, ("dispute_withheld", "user_wallet", "dispute_withheld", "2026-03-03")),
        (2, ("dispute_withheld", "user_wallet", "dispute_withheld", "2026-03-04")),
        (2, ("dispute_lost", "dispute_withheld", "psp_clearing", "2026-03-05")),
        (3, ("dispute_withheld", "user_wallet", "dispute_withheld", "2026-03-05")),
    ):
        booked = {"kind": kind, "at": f"{at}T12:00", "payment": payment}
        user = {"user": payment} if account == "user_wallet" else {}
        money += [{**booked, **user, "account": account, "amount": -1000 * payment}]
        money += [{**booked, "account": other, "amount": 1000 * payment}]
    paid = [{"user": user, "amount": 9000, "begun": "2026-03-01", "paid": "2026-03-01"} for user in (1, 2, 3)]

    # When the rows of chargebacks and of open disputes are read
    lost, still_open = read_all(
        connection, {"money": money, "payments": paid}, "payments.charged_back", "payments.disputes_open"
    )

    # Then the lost one is the day's chargeback, and each payment with an open one has a row
    assert [(row.user_id, row.amount) for row in lost] == [(2, 2000)]
    assert [(row.source, row.id, row.user_id, row.key, row.amount) for row in still_open] == [
        ("payments", 1, 1, "chargily", 1000),
        ("payments", 3, 3, "chargily", 3000),
    ]
    assert [row.at.day for row in still_open if row.at] == [3, 5]


def test_a_payout_says_of_which_provider(connection: Connection) -> None:
    paid_out = {"kind": "payout", "at": "2026-03-05T12:00"}
    money = [
        {**paid_out, "account": account, "amount": sign * amount, "provider": provider}
        for provider, amount in (("satim", 700), ("chargily", 30), ("satim", -50))
        for account, sign in (("psp_clearing", 1), ("bank", -1))
    ]
    booked, owed = read_all(connection, {"money": money}, "payments.paid_out", "payments.clearing")

    assert sorted((row.key, row.amount) for row in booked) == [("chargily", 30), ("satim", -50), ("satim", 700)]
    assert sum(row.amount for row in owed) == -680


def test_fees_and_refunds_say_of_which_payment_and_share_the_reference_of_their_movement(
    connection: Connection,
) -> None:
    paid = {"kind": "payment", "at": "2026-03-05T12:00", "payment": 2}
    back = {"kind": "refund", "at": "2026-03-05T13:00", "payment": 1}
    money = [
        {**paid, "account": "user_wallet", "user": 2, "amount": 9000},
        {**paid, "account": "psp_fees", "amount": -70},
        {**back, "account": "user_wallet", "user": 1, "amount": -500},
        {**back, "account": "psp_clearing", "amount": 500},
    ]
    payments = [{"user": user, "amount": 9000, "begun": "2026-03-01", "paid": "2026-03-05"} for user in (1, 2)]
    fees, refunds, top_ups = read_all(
        connection,
        {"money": money, "payments": payments},
        *(f"payments.{name}" for name in ("fees", "refunded", "topped_up")),
    )

    assert [(row.amount, row.kind, row.payment_id, row.payment_minor) for row in fees + refunds] == [
        (70, "payment", 2, 9000),
        (500, "refund", 1, 9000),
    ]
    assert fees[0].transaction_id == top_ups[0].transaction_id != refunds[0].transaction_id
    assert {row.payment_reference for row in fees + refunds} == {"reference 1", "reference 2"}


@pytest.mark.parametrize("few", [100_000, -1])
def test_debts_say_since_when_and_why_the_largest_first(
    connection: Connection, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    # Given a student who was in debt before, paid it, and fell into it again; and one with the larger debt
    moved = [
        (1, "refund", -500, "2026-02-01T10:00", 1),
        (1, "payment", 700, "2026-02-02T10:00", 1),
        (1, "dispute_withheld", -900, "2026-03-02T10:00", 1),
        (1, "adjustment", -100, "2026-03-04T10:00", None),
        (2, "adjustment", -2000, "2026-03-05T10:00", None),
        (3, "adjustment", 50, "2026-03-05T10:00", None),
        # later than the day
        (3, "refund", -90, "2026-03-06T10:00", 3),
    ]
    money = [
        {"account": "user_wallet", "user": user, "kind": kind, "amount": amount, "at": at}
        | ({} if payment is None else {"payment": payment})
        for user, kind, amount, at, payment in moved
    ]
    paid = [{"user": user, "amount": 9000, "begun": "2026-01-01", "paid": "2026-01-01"} for user in (1, 2, 3)]
    load(connection, school_of({"money": money, "payments": paid}))
    monkeypatch.setattr(keyset_pagination, "_FEW", few)
    # a page has no more debts than it explains, however many are asked for
    monkeypatch.setattr("services.stats.rows.read_page._DEBTS", 1)
    ask, request = query_of(connection), RowsRequest(Days(DAY, DAY, ZoneInfo("UTC")), RULES, "wallets.debt")

    # When its pages of one row are read in the order of the amounts
    found = []
    for number in ("wallets.debt", "wallets.debtors"):
        after: int | None = 0
        while after is not None:
            page = read_page(ask, replace(request, number=number, after=after, largest_first=True))
            after = page.next
            found += page.rows
    connection.rollback()

    assert [(row.user_id, row.amount, row.kind, row.transaction_id, row.payment_id, row.age_days) for row in found] == [
        (2, 2000, "adjustment", 5, None, 0),
        (1, 800, "dispute_withheld", 3, 1, 3),
        (2, 1, "adjustment", 5, None, 0),
        (1, 1, "dispute_withheld", 3, 1, 3),
    ]


def test_a_sale_says_of_which_chapter(connection: Connection) -> None:
    booked = {"kind": "activation", "at": "2026-03-05T12:00", "subscription": 1}
    sold = {
        "terms": [{"user": 1, "chapter": 2, "amount": 900, "from": "2026-03-05", "until": "2026-04-05"}],
        "money": [
            {**booked, "account": "user_wallet", "user": 1, "amount": -900},
            {**booked, "account": "subscription_revenue", "amount": 900},
        ],
    }
    for rows in read_all(
        connection, sold, *(f"revenue.{name}" for name in ("net", "billed", "by_teacher", "net_to_date"))
    ):
        assert [(row.user_id, row.chapter, row.amount) for row in rows] == [(1, "2", 900)]


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

    monkeypatch.setattr("services.stats.rows.read_days.read_page", read_page)
    engine = build_engine(database_url, pool_size=1)

    with pytest.raises(RowsTimeoutError):
        RowReader(engine, RULES, ZoneInfo("UTC"), page_seconds=2).read(DAY, "any", None, [], 0, 10)
    engine.dispose()
