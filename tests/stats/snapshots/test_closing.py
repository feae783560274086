"""A closed month stays as it is, in every number; what comes later is a correction in the open month."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError

from services.stats.api.snapshot_cache import SnapshotCache, refresh
from services.stats.days import ONE_DAY
from services.stats.errors import MonthNotClosableError
from services.stats.rows.reader import RowReader
from services.stats.sections.catalogue import Over, over
from services.stats.settings import CountSettings
from services.stats.snapshots import postgres_snapshots
from services.stats.snapshots.backfill import verify
from services.stats.snapshots.closing import close, close_due
from services.stats.snapshots.compute import Computation, flatten
from services.stats.snapshots.dirty_days import note_day
from services.stats.snapshots.postgres_snapshots import PostgresSnapshots
from services.stats.snapshots.wiring import build_computation
from shared.runtime.database import build_engine
from tests.stats.school import RULES

ALGIERS = ZoneInfo("Africa/Algiers")
FIRST, LAST = date(2026, 2, 20), date(2026, 4, 10)
FEBRUARY, MARCH, APRIL = date(2026, 2, 1), date(2026, 3, 1), date(2026, 4, 1)
NOW = datetime(2026, 4, 11, 11, tzinfo=UTC)


@dataclass
class WrittenSchool:
    """A school whose facts are written straight into the tables."""

    engine: Engine
    computation: Computation

    def book(self, at: datetime, kind: str, amount: int, account: str = "subscription_revenue") -> None:
        """A wallet gets `amount`, and the other account gives it."""
        with self.engine.begin() as connection:
            # a late fact of a past month is what the application may not write: only an operator of the database can
            connection.execute(text("SET LOCAL session_replication_role = replica"))
            transaction_id = connection.scalar(
                text("INSERT INTO ledger_transactions (kind, created_at) VALUES (:kind, :at) RETURNING id"),
                {"kind": kind, "at": at},
            )
            for one, user, sum_minor in (("user_wallet", 1, amount), (account, None, -amount)):
                connection.execute(
                    text("INSERT INTO ledger_accounts (kind, user_id) VALUES (:kind, :user) ON CONFLICT DO NOTHING"),
                    {"kind": one, "user": user},
                )
                connection.execute(
                    text(
                        "INSERT INTO ledger_entries (transaction_id, account_id, amount_minor, currency) "
                        "SELECT :id, id, :amount, 'DZD' FROM ledger_accounts "
                        "WHERE kind = :kind AND user_id IS NOT DISTINCT FROM :user"
                    ),
                    {"id": transaction_id, "kind": one, "user": user, "amount": sum_minor},
                )
            if account != "user_wallet":
                connection.execute(
                    text("UPDATE users SET balance_minor = balance_minor + :amount WHERE id = 1"), {"amount": amount}
                )
        note_day(self.engine, at.astimezone(ALGIERS).date())

    def register(self, at: datetime) -> None:
        with self.engine.begin() as connection:
            connection.execute(text("INSERT INTO users (created_at) VALUES (:at)"), {"at": at})

    def compute_due(self) -> None:
        for _ in range(50):
            with self.engine.connect() as connection:
                due = postgres_snapshots.find_due(connection, FIRST, LAST)
            if not due:
                return
            self.computation.compute_due(due[0])
        raise AssertionError(f"{due} are due for ever")

    def shown(self, first: date = FIRST, last: date = LAST) -> dict[date, dict[str, Any]]:
        return {one.day: one.payload for one in postgres_snapshots.between(self.engine, first, last)}

    def number(self, day: date, name: str) -> Any:
        return flatten(self.shown(day, day)[day])[name]

    def corrections(self, day: date) -> dict[str, Any]:
        found: dict[str, Any] = self.shown(day, day)[day]["corrections"]
        return found

    def total(self, name: str) -> int:
        """Over all that is shown, with the corrections."""
        return sum(flatten(one)[name] + one["corrections"].get(name, 0) for one in self.shown().values())


@pytest.fixture
def school(database_url: str) -> Iterator[WrittenSchool]:
    """Every day from FIRST to LAST is kept."""
    engine = build_engine(database_url, pool_size=8)
    computation = build_computation(engine, CountSettings(database_url=database_url), now=lambda: NOW)
    made = WrittenSchool(engine, computation)
    made.register(datetime(2026, 2, 20, 11, tzinfo=UTC))
    made.book(datetime(2026, 2, 21, 11, tzinfo=UTC), "payment", 9_000, "psp_clearing")
    made.book(datetime(2026, 3, 10, 11, tzinfo=UTC), "activation", -2_500)
    computation.compute(FIRST, LAST)
    made.compute_due()
    yield made
    engine.dispose()


def test_a_late_fact_is_booked_in_the_open_month_and_the_closed_day_stays(school: WrittenSchool) -> None:
    close(school.engine, MARCH, "test", LAST)
    before = school.shown(FIRST, date(2026, 3, 31))

    school.book(datetime(2026, 3, 10, 15, tzinfo=UTC), "activation", -1_000)
    school.compute_due()

    assert school.shown(FIRST, date(2026, 3, 31)) == before
    assert school.number(date(2026, 3, 10), "revenue.net") == 2_500
    assert school.corrections(APRIL)["revenue.net"] == 1_000
    assert school.corrections(APRIL)["revenue.by_chapter"] == {"~none": 1_000}
    assert "wallets.total" not in school.corrections(APRIL), "what stands at a day's end is right in the open month"
    assert school.number(LAST, "wallets.total") == 5_500
    assert school.number(LAST, "revenue.net_to_date") == school.total("revenue.net") == 3_500


def test_the_rows_of_a_closed_number_and_of_a_correction_add_up_to_them(school: WrittenSchool) -> None:
    close(school.engine, MARCH, "test", LAST)
    day = date(2026, 3, 10)
    school.book(datetime(2026, 3, 10, 15, tzinfo=UTC), "activation", -1_000)
    school.compute_due()
    rows = RowReader(school.engine, RULES, ALGIERS)

    closed = rows.read(day, "revenue.net", None, (), 0, 10).rows
    assert [(row.source, row.amount) for row in closed] == [
        ("ledger_entries", 2_500),
        ("ledger_entries", 1_000),
        ("closed_day_corrections", -1_000),
    ]
    assert sum(row.amount for row in rows.read(day, "wallets.total", None, (), 0, None).rows) == 6_500
    corrected = rows.read(APRIL, "corrections.revenue.net", None, (), 0, 10).rows
    assert [(row.source, row.day, row.amount) for row in corrected] == [("closed_day_corrections", day, 1_000)]
    by_chapter = rows.read(APRIL, "corrections.revenue.by_chapter", "~none", (), 0, 10).rows
    assert [row.amount for row in by_chapter] == [1_000]


def test_a_correction_stays_in_its_month_when_that_is_closed_too(school: WrittenSchool) -> None:
    close(school.engine, FEBRUARY, "test", LAST)
    school.book(datetime(2026, 2, 25, 15, tzinfo=UTC), "activation", -300)
    school.compute_due()
    assert school.corrections(MARCH)["revenue.net"] == 300

    close(school.engine, MARCH, "test", LAST)
    school.book(datetime(2026, 2, 25, 16, tzinfo=UTC), "activation", -40)
    school.compute_due()

    assert (school.corrections(MARCH)["revenue.net"], school.corrections(APRIL)["revenue.net"]) == (300, 40)
    assert school.number(LAST, "revenue.net_to_date") == school.total("revenue.net") == 2_840


def test_what_was_before_everything_when_the_month_was_closed_is_a_correction_too(school: WrittenSchool) -> None:
    close(school.engine, MARCH, "test", LAST)
    early = FIRST - ONE_DAY
    school.register(datetime(2026, 2, 19, 11, tzinfo=UTC))
    school.computation.compute(early, early)
    school.compute_due()

    assert early not in school.shown(early, LAST)
    assert early not in refresh(school.engine, SnapshotCache()).days
    assert school.corrections(APRIL)["users.new"] == 1
    assert school.number(LAST, "users.total") == school.total("users.new") == 2


def test_a_change_that_is_taken_back_leaves_no_correction(school: WrittenSchool) -> None:
    close(school.engine, MARCH, "test", LAST)
    school.register(datetime(2026, 3, 10, 11, tzinfo=UTC))
    school.compute_due()
    assert school.corrections(APRIL)["users.new"] == 1
    with school.engine.begin() as connection:
        connection.execute(text("DELETE FROM users WHERE id = 2"))
    school.compute_due()
    assert "users.new" not in school.corrections(APRIL)


def test_the_database_refuses_to_change_what_is_closed(school: WrittenSchool) -> None:
    close(school.engine, MARCH, "test", LAST)
    school.register(datetime(2026, 3, 10, 11, tzinfo=UTC))
    school.compute_due()
    for statement in (
        "UPDATE daily_stats_newest SET version = 2 WHERE day = '2026-03-10'",
        "UPDATE daily_stats_newest SET facts_version = NULL WHERE day = '2026-03-10'",
        "DELETE FROM daily_stats_newest WHERE day = '2026-03-10'",
        "DELETE FROM closed_months",
        "UPDATE closed_day_corrections SET amount = 5",
    ):
        with (
            pytest.raises(IntegrityError, match="a closed month is never changed"),
            school.engine.begin() as connection,
        ):
            connection.execute(text(statement))


def test_closing_is_seen_by_the_cache_and_said_by_the_day(school: WrittenSchool) -> None:
    cache = refresh(school.engine, SnapshotCache())
    assert not any(day.closed or day.payload["closed"] for day in cache.days.values())

    close(school.engine, MARCH, "test", LAST)

    after = refresh(school.engine, cache)
    assert after is not cache
    assert {day for day, found in after.days.items() if found.closed} == {day for day in after.days if day < APRIL}
    assert all(day.closed == day.payload["closed"] for day in after.days.values())
    found = postgres_snapshots.on(school.engine, MARCH)
    assert found is not None
    assert (found.etag, found.body_gzip) == (after.days[MARCH].etag, after.days[MARCH].body_gzip)
    assert after.days[APRIL] is cache.days[APRIL], "an open day is not sent again"
    assert refresh(school.engine, after) is after


def test_a_closed_day_is_verified_against_what_the_facts_say_now(school: WrittenSchool) -> None:
    close(school.engine, MARCH, "test", LAST)
    school.book(datetime(2026, 3, 10, 15, tzinfo=UTC), "activation", -1_000)
    school.compute_due()
    verdict = verify(PostgresSnapshots(school.engine), school.computation, FIRST, LAST, lambda done, total: None)
    assert (verdict.differing, verdict.missing, verdict.due) == ({}, [], [])


@pytest.mark.parametrize(
    ("change", "month", "reason"),
    [
        ("SELECT 1", date(2026, 4, 1), "2026-04 is not over"),
        ("INSERT INTO changed_days (day) VALUES ('2026-03-10')", MARCH, "1 days are due, the first is 2026-03-10"),
        ("UPDATE daily_stats_newest SET failed = true WHERE day = '2026-03-09'", MARCH, "the first is 2026-03-09"),
        ("DELETE FROM daily_stats_newest WHERE day = '2026-03-08'", MARCH, "the first is 2026-03-08"),
        (
            "INSERT INTO daily_stats SELECT day, 9, jsonb_set(payload, '{definitions}', '1'), '', '', true, '' "
            "FROM daily_stats WHERE day = '2026-03-07';"
            "UPDATE daily_stats_newest SET version = 9 WHERE day = '2026-03-07'",
            MARCH,
            "2026-03-07 was counted by older definitions",
        ),
    ],
)
def test_a_month_that_is_not_counted_wholly_is_not_closed(
    school: WrittenSchool, change: str, month: date, reason: str
) -> None:
    with school.engine.begin() as connection:
        connection.exec_driver_sql(change)
    with pytest.raises(MonthNotClosableError, match=reason):
        close(school.engine, month, "test", LAST)
    assert not any(payload["closed"] for payload in school.shown().values())


def test_to_close_a_month_closes_every_earlier_one_and_again_does_nothing(school: WrittenSchool) -> None:
    assert close(school.engine, MARCH, "test", LAST) == [FEBRUARY, MARCH]
    assert close(school.engine, MARCH, "test", LAST) == close(school.engine, FEBRUARY, "test", LAST) == []


@pytest.mark.parametrize(
    ("now", "closing_day", "months"),
    [
        ("2026-04-04 22:59", 5, [FEBRUARY]),
        ("2026-04-04 23:00", 5, [FEBRUARY, MARCH]),
        ("2026-04-30 12:00", 28, [FEBRUARY, MARCH]),
        ("2026-03-05 12:00", 6, []),
    ],
)
def test_a_month_is_closed_on_the_closing_day_of_the_next_one(
    school: WrittenSchool, now: str, closing_day: int, months: list[date]
) -> None:
    # Given statistics that have run since February
    with school.engine.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text("UPDATE daily_stats SET computed_at = day + 1"))
    assert close_due(school.engine, ALGIERS, datetime.fromisoformat(f"{now}+00:00"), closing_day) == months


def test_months_before_the_first_computation_stay_open_until_the_next_closing_day(school: WrittenSchool) -> None:
    assert close_due(school.engine, ALGIERS, NOW, 5) == [], "the days were computed after that"


def test_a_busy_or_unfinished_month_is_closed_by_a_later_sweep(school: WrittenSchool) -> None:
    with school.engine.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text("UPDATE daily_stats SET computed_at = day + 1"))
    with postgres_snapshots.open_book(school.engine):
        assert close_due(school.engine, ALGIERS, NOW, 5) == []
    note_day(school.engine, MARCH)
    assert close_due(school.engine, ALGIERS, NOW, 5) == []
    school.compute_due()
    assert close_due(school.engine, ALGIERS, NOW, 5) == [FEBRUARY, MARCH]


@pytest.mark.parametrize(
    "seed", [1, 2, pytest.param(3, marks=pytest.mark.slow), pytest.param(4, marks=pytest.mark.slow)]
)
def test_whatever_comes_late_no_closed_number_changes_and_all_months_add_up_to_the_ledger(
    school: WrittenSchool, seed: int
) -> None:
    chance = random.Random(seed)
    kinds = (("payment", 1), ("refund", -1), ("activation", -1), ("deactivation", 1), ("adjustment", 1))
    months, pinned = [FEBRUARY, MARCH], dict[date, Any]()
    for _ in range(6):
        for _ in range(chance.randint(1, 4)):
            at = datetime(2026, 2, 20, 11, tzinfo=UTC) + timedelta(days=chance.randint(0, 49))
            kind, sign = chance.choice(kinds)
            account = "subscription_revenue" if "activation" in kind else "psp_clearing"
            school.book(at, kind, sign * chance.randint(1, 5_000), account)
            if chance.random() < 0.3:
                school.register(at)
        school.compute_due()
        shown = school.shown()
        assert {day: shown[day] for day in pinned} == pinned
        if months and chance.random() < 0.5:
            closed = months.pop(0)
            close(school.engine, closed, "test", LAST)
            pinned = {day: payload for day, payload in school.shown().items() if payload["closed"]}
    shown, rebuilt = school.shown(), school.computation.rebuild(FIRST, LAST)
    assert not any(payload["corrections"] for day, payload in shown.items() if day not in (MARCH, APRIL))
    for name, value in flatten(shown[LAST]).items():
        if over(name) is Over.SUM and isinstance(value, int):
            facts = sum(flatten(payload).get(name, 0) for payload in rebuilt.values())
            assert school.total(name) == facts, name
    assert school.total("revenue.net") == school.number(LAST, "revenue.net_to_date")
    assert school.total("payments.topped_up") == school.number(LAST, "payments.topped_up_to_date")
