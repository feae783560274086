"""What is edited, cut short, cancelled or returned later leaves the days before as they were: the database keeps it."""

import importlib
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, text

from services.stats.days import Days
from services.stats.sections import SECTIONS
from services.stats.snapshots.postgres_sections import PostgresSections
from shared.runtime.database import build_engine
from tests.stats.school import RULES

UTC_ZONE = ZoneInfo("UTC")
#: A term of 300 days of user 1 for chapter 1, which teacher 1 teaches, sold and paid forty days ago.
SCHOOL = """
INSERT INTO users (created_at) SELECT now() - interval '90 days' FROM generate_series(1, 2);
INSERT INTO teachers (created_at) SELECT now() - interval '90 days' FROM generate_series(1, 2);
INSERT INTO chapters (teacher_id) VALUES (1);
INSERT INTO subscriptions (user_id, chapter_id, amount_minor, access_level) VALUES (1, 1, 3000, 'full');
UPDATE subscriptions SET status = 'active', activated_at = now() - interval '40 days',
    ends_at = now() + interval '260 days';
INSERT INTO ledger_accounts (kind, user_id) VALUES ('subscription_revenue', NULL), ('user_wallet', 1);
INSERT INTO ledger_transactions (kind, subscription_id, created_at)
    VALUES ('activation', 1, now() - interval '40 days');
INSERT INTO ledger_entries (transaction_id, account_id, amount_minor, currency)
    VALUES (1, 1, 3000, 'DZD'), (1, 2, -3000, 'DZD');
UPDATE users SET balance_minor = -3000 WHERE id = 1
"""
#: As the gateway takes a subscription back.
RETURN = "UPDATE subscriptions SET status = 'pending_payment', activated_at = NULL, ends_at = NULL"

Numbers = dict[str, Any]


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = build_engine(database_url)
    run(engine, SCHOOL)
    yield engine
    engine.dispose()


@pytest.fixture
def numbers(engine: Engine) -> Callable[[int], Numbers]:
    """The numbers of the day so many days ago."""

    def read(days_ago: int) -> Numbers:
        day = datetime.now(UTC).date() - timedelta(days=days_ago)
        sections = PostgresSections(engine, SECTIONS, RULES).read(Days(day, day, UTC_ZONE), {}, {}).sections
        return {f"{name}.{number}": value for name in sections for number, value in _of(sections[name], day).items()}

    return read


def _of(values: Any, day: date) -> Numbers:
    found: Numbers = values[day]
    return found


def run(engine: Engine, *statements: str) -> None:
    for statement in statements:
        with engine.begin() as connection:
            connection.exec_driver_sql(statement)


def kept(engine: Engine) -> list[tuple[int, bool, bool]]:
    with engine.connect() as connection:
        found = connection.execute(
            text("SELECT amount_minor, stopped_at IS NOT NULL, is_returned FROM subscription_terms")
        )
        return [tuple(row) for row in found]


@pytest.mark.parametrize(
    ("statement", "row"),
    [
        ("UPDATE subscriptions SET amount_minor = 9999", (3000, False, False)),
        ("UPDATE subscriptions SET ends_at = now()", (3000, False, False)),
        (RETURN, (3000, True, True)),
        ("UPDATE subscriptions SET status = 'expired'", (3000, True, False)),
        ("UPDATE subscriptions SET status = 'cancelled', ends_at = NULL", (3000, True, False)),
    ],
)
def test_what_is_changed_later_leaves_the_days_before_as_they_were(
    engine: Engine, numbers: Callable[[int], Numbers], statement: str, row: tuple[int, bool, bool]
) -> None:
    before = [numbers(days_ago) for days_ago in (40, 20, 1)]

    run(engine, statement)

    assert kept(engine) == [row]
    after = [numbers(days_ago) for days_ago in (40, 20, 1)]
    # what is still to come, and what is only known at a day's end, may differ
    own = ("expiring_7", "expiring_30", "pending")
    for one, other in zip(before, after, strict=True):
        assert {n: v for n, v in one.items() if not n.endswith(own)} == {
            n: v for n, v in other.items() if not n.endswith(own)
        }
    assert after[1]["subscriptions.mrr"] == 300
    if row[1] or "ends_at" in statement:
        today = numbers(0)
        assert (today["subscriptions.mrr"], today["subscriptions.active"]) == (0, 0)
        assert (today["subscriptions.mrr_churn"], today["subscriptions.ended"]) == (300, 1)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE subscriptions SET status = 'cancelled'",
        "UPDATE subscriptions SET access_level = 'live'",
        "UPDATE subscriptions SET activated_at = activated_at + interval '1 hour'",
        "INSERT INTO subscriptions (user_id, amount_minor, status, activated_at, ends_at) "
        "VALUES (2, 5, 'expired', now() - interval '9 days', now() - interval '1 day')",
    ],
)
def test_what_changes_no_sale_keeps_no_row(engine: Engine, statement: str) -> None:
    run(engine, statement)
    assert kept(engine) == []


def test_what_came_cancelled_or_expired_before_its_end_never_ran(
    engine: Engine, numbers: Callable[[int], Numbers]
) -> None:
    before = numbers(3)["subscriptions.active"]
    run(
        engine,
        "INSERT INTO subscriptions (user_id, amount_minor, status, activated_at, ends_at) "
        "VALUES (2, 5, 'cancelled', now() - interval '9 days', NULL), "
        "(2, 5, 'expired', now() - interval '9 days', now() + interval '9 days')",
    )
    assert numbers(3)["subscriptions.active"] == before


def test_what_was_edited_before_is_filled_from_the_ledger(engine: Engine, numbers: Callable[[int], Numbers]) -> None:
    # Given a price that was edited, and rows that nobody saw run, from before the database kept any of it
    with engine.begin() as connection:
        connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        connection.exec_driver_sql("UPDATE subscriptions SET amount_minor = 9999")
        connection.exec_driver_sql(
            "INSERT INTO subscriptions (user_id, amount_minor, status, activated_at, ends_at) "
            "VALUES (2, 5, 'cancelled', now() - interval '9 days', NULL), "
            "(2, 5, 'expired', now() - interval '9 days', now() + interval '9 days'), "
            "(2, 5, 'expired', now() - interval '9 days', now() - interval '2 days')"
        )
    assert numbers(20)["subscriptions.mrr"] == 1000

    fill = importlib.import_module("shared.schema.migrations.versions.0035_fill_sold_terms")
    for _ in range(2):
        run(engine, fill._PRICES, fill._NEVER_RAN)

    assert sorted(kept(engine)) == [(5, True, False), (5, True, False), (3000, False, False)]
    assert numbers(20)["subscriptions.mrr"] == 300
    assert numbers(4)["subscriptions.active"] == 2


def test_what_runs_again_has_run_since_and_its_days_are_marked(
    engine: Engine, numbers: Callable[[int], Numbers]
) -> None:
    run(engine, "UPDATE subscriptions SET status = 'expired'")
    assert numbers(0)["subscriptions.active"] == 0
    run(engine, "DELETE FROM late_days", "UPDATE subscriptions SET status = 'active'")
    assert numbers(0)["subscriptions.active"] == 1
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM late_days WHERE last_day >= current_date")) == 1


def test_sold_again_after_a_return_is_a_term_of_its_own(engine: Engine, numbers: Callable[[int], Numbers]) -> None:
    run(
        engine,
        RETURN,
        "UPDATE subscriptions SET amount_minor = 60, status = 'active', activated_at = now(), "
        "ends_at = now() + interval '60 days'",
    )
    assert numbers(20)["subscriptions.mrr"] == 300
    today = numbers(0)
    assert (today["subscriptions.mrr"], today["subscriptions.mrr_contraction"]) == (30, 270)


def test_the_teacher_at_the_time_of_the_sale_keeps_it(engine: Engine, numbers: Callable[[int], Numbers]) -> None:
    run(
        engine,
        "UPDATE chapters SET teacher_id = 2",
        "INSERT INTO ledger_transactions (kind, subscription_id, created_at) VALUES ('activation', 1, now())",
        "INSERT INTO ledger_entries (transaction_id, account_id, amount_minor, currency) "
        "VALUES (2, 1, 70, 'DZD'), (2, 2, -70, 'DZD')",
    )
    assert numbers(40)["revenue.by_teacher"] == {"1": 3000}
    assert numbers(0)["revenue.by_teacher"] == {"2": 70}
