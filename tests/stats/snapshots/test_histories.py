"""Whatever comes, and in whichever order: the kept days equal a rebuild, and the numbers of many days add up."""

from collections.abc import Iterator
from contextlib import closing
from datetime import date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import psycopg2
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from services.stats.days import Days, day_of
from services.stats.sections import active_users, activity_and_retention, mrr
from services.stats.settings import CountSettings
from services.stats.snapshots import postgres_snapshots
from services.stats.snapshots.backfill import verify
from services.stats.snapshots.compute import Computation
from services.stats.snapshots.dirty_days import mark
from services.stats.snapshots.wiring import build_computation
from shared.runtime.database import build_engine
from shared.schema.tables import metadata
from tests.stats.histories import History, schools
from tests.stats.oracle_day import School
from tests.stats.school import Connection, count, load

slowly = settings(deadline=None, suppress_health_check=list(HealthCheck), report_multiple_bugs=False)
#: Each of these is a dozen transactions, and a failure among them is not worth minutes of shrinking.
few = settings(slowly, max_examples=slowly.max_examples // 7, phases=(Phase.explicit, Phase.reuse, Phase.generate))

#: The database keeps seals and kept days from being emptied, but for one that is replicated. TRUNCATE makes new files
#: for every table and index, which takes thirty times as long as to delete a few rows.
_EMPTY = text(
    "; ".join(["SET LOCAL session_replication_role = replica", *map("DELETE FROM {}".format, sorted(metadata.tables))])
)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = build_engine(database_url)
    yield engine
    engine.dispose()


def computation_of(engine: Engine, url: str, zone: ZoneInfo, day: date) -> Computation:
    """A computation long after `day`, so that nothing is observed."""
    made = CountSettings(database_url=url, timezone=zone.key)
    return build_computation(engine, made, now=lambda: datetime(day.year + 2, 1, 1, tzinfo=zone))


def write(url: str, school: School) -> None:
    with closing(psycopg2.connect(url)) as connection, connection:
        load(connection, school)


def days_of(school: School, zone: ZoneInfo) -> set[date]:
    """The days that any fact of the school lies in."""
    instants = [
        value for rows in school.values() for row in rows for value in row.values() if isinstance(value, datetime)
    ]
    return {day_of(instant, zone) for instant in instants}


def settle(engine: Engine, computation: Computation, first: date, last: date) -> None:
    """Compute what is due until nothing is, as the worker does."""
    for _ in range(100):
        with engine.connect() as connection:
            due = postgres_snapshots.find_due(connection, first, last)
        if not due:
            return
        computation.compute_due(due[0])
    raise AssertionError("some day is due for ever")


def cut(first: date, last: date, places: set[int]) -> list[tuple[date, date]]:
    """The runs of days that `places` leave of one run."""
    begins = [first, *(first + timedelta(days=place) for place in sorted(places))]
    return list(zip(begins, [*(begin - timedelta(days=1) for begin in begins[1:]), last], strict=True))


@few
@given(history=schools, data=st.data())
def test_days_computed_in_any_order_with_facts_that_come_late_equal_a_rebuild(
    engine: Engine, database_url: str, history: History, data: st.DataObject
) -> None:
    school, zone, day = history
    with engine.begin() as connection:
        connection.execute(_EMPTY)
    late = {
        table: [row for row in school[table] if data.draw(st.booleans())]
        for table in ("attendances", "payments", "subscriptions", "webhook_events")
    }
    # an event names a payment, and does not come before it
    early: School = {**school, "ledger": []}
    for table, rows in late.items():
        early[table] = [row for row in school[table] if row not in rows]
    early["webhook_events"] = [
        event
        for event in early["webhook_events"]
        if event["payment_id"] in {None, *(p["id"] for p in early["payments"])}
    ]
    rest: School = {table: [row for row in rows if row not in early[table]] for table, rows in school.items()}
    write(database_url, early)
    computation = computation_of(engine, database_url, zone, day)
    first, last = day - timedelta(days=64), day + timedelta(days=9)
    for begin, end in data.draw(st.permutations(cut(first, last, data.draw(st.sets(st.integers(1, 73), max_size=4))))):
        computation.compute(begin, end)

    write(database_url, {**rest, "users": [], "ledger": []})
    with engine.begin() as connection:
        mark(connection, days_of(rest, zone))
    settle(engine, computation, first, last)
    verdict = verify(postgres_snapshots.PostgresSnapshots(engine), computation, first, last, lambda done, total: None)
    assert (verdict.missing, verdict.differing) == ([], {})


@few
@given(history=schools)
def test_very_many_users_and_large_ids_are_read_in_another_way(connection: Connection, history: History) -> None:
    school, zone, day = history
    days = Days(day - timedelta(days=9), day + timedelta(days=9), zone)
    try:
        load(connection, school)
        expected = count(connection, days)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(active_users, "LARGEST_PLACE", -1)
            patched.setattr(mrr, "MAX_LISTED", -1)
            patched.setattr(activity_and_retention, "_MANY_DAYS", 0)
            assert count(connection, days) == expected
    finally:
        connection.rollback()


@slowly
@given(history=schools)
def test_the_days_add_up_and_mrr_moves_only_in_its_five_ways(connection: Connection, history: History) -> None:
    school, zone, day = history
    days = Days(day - timedelta(days=70), day + timedelta(days=40), zone)
    try:
        load(connection, school)
        found = list(count(connection, days).values())
    finally:
        connection.rollback()
    for before, after in pairwise(found):
        won = sum(after[f"subscriptions.mrr_{name}"] for name in ("new", "expansion", "reactivation"))
        lost = sum(after[f"subscriptions.mrr_{name}"] for name in ("contraction", "churn"))
        assert after["subscriptions.mrr"] == before["subscriptions.mrr"] + won - lost
        for total, new in (
            ("users.total", "users.new"),
            ("payments.topped_up_to_date", "payments.topped_up"),
            ("payments.completed_to_date", "payments.completed"),
            ("revenue.net_to_date", "revenue.net"),
        ):
            assert after[total] == before[total] + after[new]
        begun, ended = after["subscriptions.begun"], after["subscriptions.ended"]
        assert after["subscriptions.active"] == before["subscriptions.active"] + begun - ended
        gained, lost = after["subscriptions.subscribers_gained"], after["subscriptions.subscribers_lost"]
        assert after["subscriptions.subscribers"] == before["subscriptions.subscribers"] + gained - lost
    # every fact lies in these days, so their sums are the tables' own
    sales = [entry for entry in school["ledger"] if entry["account"] == "subscription_revenue"]
    visits = {(row["session_id"], row["user_id"]) for row in school["attendances"]}
    for name, expected in {
        "payments.started": len(school["payments"]),
        "revenue.net": sum(entry["amount_minor"] for entry in sales),
        "users.new": len(school["users"]),
        "platform.webhooks": len(school["webhook_events"]),
    }.items():
        assert sum(numbers[name] for numbers in found) == expected, name
    assert sum(numbers["attendance.check_ins"] for numbers in found) >= len(visits)
    for numbers in found:
        assert numbers["revenue.net"] == numbers["revenue.billed"] - numbers["revenue.returned"]
        assert numbers["wallets.total"] == numbers["wallets.credit"] - numbers["wallets.debt"]
        for name in ("grr_30", "gross_mrr_churn_30", "customer_churn_30", "renewal_rate_30"):
            assert 0 <= numbers.get(f"subscriptions.{name}", 0) <= 10_000, name
        for whole, part in (
            ("revenue.net", "by_chapter"),
            ("revenue.net", "by_teacher"),
            ("payments.topped_up", "topped_up_by_provider"),
            ("payments.topped_up", "topped_up_by_method"),
            ("payments.started", "started_by_method"),
            ("payments.started", "started_by_status"),
            ("payments.completed", "completed_by_provider"),
            ("subscriptions.active", "active_by_level"),
            ("subscriptions.active", "popular_chapters"),
            ("attendance.check_ins", "by_chapter"),
            ("users.total", "by_role"),
        ):
            section = whole.partition(".")[0]
            assert numbers[whole] == sum(numbers[f"{section}.{part}"].values()), part
