"""The watch sees a ledger that is off by a centime and an event that nobody settles; one worker watches at a time."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import psycopg2
import pytest
from sqlalchemy import Connection, event

from services.webhook_gateway.integrity import invariant_checker
from services.webhook_gateway.integrity.invariant_checker import (
    DECIDE_SECONDS,
    RECENT_SECONDS,
    Findings,
    InvariantChecker,
    next_stretch,
)
from services.webhook_gateway.integrity.invariants import Broken, Invariant
from shared.runtime.database import build_engine
from tests.waiting import wait_until
from tests.webhook_gateway.processes import Database, RunningWorker


@pytest.fixture
def database(database_url: str) -> Database:
    """Three users; the first has paid ten."""
    database = Database(database_url)
    database.execute("INSERT INTO users (name, balance_minor) VALUES ('', 10), ('', 0), ('', 0)")
    database.execute("INSERT INTO ledger_accounts (kind, provider) VALUES ('psp_clearing', 'generic')")
    database.execute("INSERT INTO ledger_accounts (kind, user_id) SELECT 'user_wallet', id FROM users")
    pay(database, 2, 10)
    return database


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    engine = build_engine(database.url)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def pay(database: Database, account: int, amount_minor: int) -> None:
    database.execute(
        "WITH t AS (INSERT INTO ledger_transactions (kind) VALUES ('payment') RETURNING id) "
        "INSERT INTO ledger_entries (transaction_id, account_id, amount_minor, currency) "
        "SELECT id, account, amount, 'DZD' FROM t, (VALUES (1, -%s::bigint), (%s, %s)) entries (account, amount)",
        amount_minor,
        account,
        amount_minor,
    )


def tamper(database: Database, statement: str) -> None:
    with closing(psycopg2.connect(database.url)) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(statement)


def broken(findings: Findings) -> dict[Invariant, list[Broken]]:
    return {invariant: list(rows) for invariant, rows in findings.broken.items() if rows}


class Clock:
    """Goes on by eleven minutes at every check, so that nothing is recent any more."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += RECENT_SECONDS + 60
        return self.now


def test_a_sound_school_breaks_nothing(connection: Connection, database: Database) -> None:
    checker = InvariantChecker(connection, 300)

    assert [broken(checker.check()) for _ in range(3)] == [{}, {}, {}]


@pytest.mark.parametrize("checks_before", [0, 1, 5])
def test_a_balance_that_was_changed_by_one_centime_is_named_by_the_next_check(
    connection: Connection, database: Database, checks_before: int
) -> None:
    checker = InvariantChecker(connection, 300, Clock())
    for _ in range(checks_before):
        checker.check()

    database.execute("UPDATE users SET balance_minor = balance_minor + 1 WHERE id = 3")
    found = checker.check()

    assert broken(found) == {Invariant.BALANCE_IS_ENTRIES: [Broken(3, 1)]}
    assert found.drift_minor == 1
    database.execute("UPDATE users SET balance_minor = balance_minor - 1 WHERE id = 3")
    assert broken(checker.check()) == {}


def test_a_balance_that_stays_wrong_costs_one_scan_of_everything_not_every_scan(
    connection: Connection, database: Database
) -> None:
    checker = InvariantChecker(connection, 300, Clock())
    checker.check()
    full_checks: list[str] = []

    @event.listens_for(connection.engine, "before_cursor_execute")
    def count(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if "WITH held AS" in statement:
            full_checks.append(statement)

    database.execute("UPDATE users SET balance_minor = balance_minor + 1 WHERE id = 3")
    for _ in range(5):
        assert broken(checker.check()) == {Invariant.BALANCE_IS_ENTRIES: [Broken(3, 1)]}
    assert len(full_checks) == 1
    # money that is booked meanwhile changes nothing about it
    pay(database, 3, 5)
    database.execute("UPDATE users SET balance_minor = balance_minor + 5 WHERE id = 2")
    assert broken(checker.check()) == {Invariant.BALANCE_IS_ENTRIES: [Broken(3, 1)]}
    assert len(full_checks) == 1


def test_two_balances_that_cancel_each_other_are_found_by_the_slow_walk(
    connection: Connection, database: Database
) -> None:
    checker = InvariantChecker(connection, 300, Clock())
    checker.check()

    database.execute("UPDATE users SET balance_minor = balance_minor + CASE id WHEN 2 THEN 7 ELSE -7 END WHERE id > 1")
    checks = [broken(checker.check()) for _ in range(2)]

    assert checks[-1] == {Invariant.BALANCE_IS_ENTRIES: [Broken(2, 7), Broken(3, 7)]}


def test_a_transaction_that_does_not_sum_to_zero_is_named_and_stays_so_until_it_does(
    connection: Connection, database: Database
) -> None:
    checker = InvariantChecker(connection, 300, Clock())
    checker.check()

    tamper(database, "UPDATE ledger_entries SET amount_minor = -12 WHERE id = 1")

    for _ in range(3):
        assert broken(checker.check()) == {Invariant.TRANSACTION_BALANCED: [Broken(1, 2)]}


def test_the_walk_over_users_is_shorter_after_one_that_took_long_and_comes_round_all_the_same(
    connection: Connection, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a walk that always takes too long, two users at a time at the least
    monkeypatch.setattr(invariant_checker, "USERS_A_CHECK", 4)
    monkeypatch.setattr(invariant_checker, "MIN_USERS_A_CHECK", 2)
    monkeypatch.setattr(invariant_checker, "WALK_SECONDS", 0.0)
    checker = InvariantChecker(connection, 300, Clock())
    checker.check()
    # users 6 and 7 are off, and cancel each other: the sum of all balances says nothing
    database.execute("INSERT INTO users (balance_minor) VALUES (0), (0), (7), (-7)")

    found = [checker.check().broken[Invariant.BALANCE_IS_ENTRIES] for _ in range(3)]

    # after users 0 to 3 come 4 and 5, then these
    assert found == [[], [], [Broken(6, 7), Broken(7, 7)]]


@pytest.mark.parametrize(
    ("users", "took_seconds", "following"),
    [(1000, 0.5, 500), (60, 0.5, 50), (500, 0.09, 500), (500, 0.01, 1000), (1000, 0.01, 1000)],
)
def test_the_next_stretch_depends_on_how_long_the_last_one_took(
    users: int, took_seconds: float, following: int
) -> None:
    assert next_stretch(users, took_seconds) == following


def test_money_that_is_booked_between_two_checks_is_no_drift(connection: Connection, database: Database) -> None:
    checker = InvariantChecker(connection, 300, Clock())
    checker.check()
    for round_number in range(4):
        pay(database, 3, 5 + round_number)
        database.execute("UPDATE users SET balance_minor = balance_minor + %s WHERE id = 2", 5 + round_number)

        assert broken(checker.check()) == {}


def keep_event(database: Database, age_seconds: float, state: str = "received", attempts: int = 0) -> None:
    database.execute(
        "INSERT INTO webhook_events (provider, dedupe_key, state, attempts, body, body_sha256, received_at) "
        "VALUES ('generic', gen_random_uuid()::text, %s, %s, '', '', now() - %s * interval '1 second')",
        state,
        attempts,
        age_seconds,
    )


def test_events_and_messages_past_their_time_are_named_and_no_others(
    connection: Connection, database: Database
) -> None:
    keep_event(database, 301)
    keep_event(database, 10)
    keep_event(database, 9999, attempts=3)
    keep_event(database, DECIDE_SECONDS + 1, attempts=3)
    keep_event(database, 10**6, state="applied")
    keep_event(database, 9999)
    database.execute("UPDATE webhook_events SET drained_at = now() - interval '1 second' WHERE id = 6")
    for age_seconds in (61, 5):
        database.execute(
            "INSERT INTO outbox (service, message, created_at) VALUES ('gateway', '{}', now() - %s * interval '1 s')",
            age_seconds,
        )

    found = InvariantChecker(connection, 300).check()

    assert broken(found) == {
        Invariant.EVENT_SETTLED: [Broken(1)],
        Invariant.EVENT_DECIDED: [Broken(4)],
        Invariant.MESSAGE_PUBLISHED: [Broken(1)],
    }
    assert found.unsettled == 5
    assert 301 <= found.oldest_unsettled_seconds < 400


def test_of_two_workers_one_is_on_watch_and_the_other_takes_over(
    database: Database, rabbitmq_url: str, tmp_path: Path
) -> None:
    def start(name: str) -> RunningWorker:
        return RunningWorker(tmp_path / name, database.url, rabbitmq_url, NOUBA_INTEGRITY_CHECK_SECONDS="0.5")

    def shown(worker: RunningWorker, line: str) -> bool:
        return f"\n{line}\n" in httpx.get(worker.metrics_url).text

    with start("first") as first:
        wait_until(lambda: "on watch" in first.log)
        with start("second") as second:
            # a sealed ledger, and a drift of one centime that is reported within moments, by id alone
            wait_until(lambda: shown(first, "nouba_integrity_chain_rows 5.0"))
            database.execute("UPDATE users SET balance_minor = balance_minor + 1, name = 'canary-name' WHERE id = 3")
            wait_until(lambda: shown(first, "nouba_ledger_drift_minor 1.0"))
            assert shown(first, 'nouba_invariant_violations{invariant="balance_is_entries"} 1.0')
            assert "invariant broken" in first.log
            assert "canary-name" not in first.log
            assert shown(second, "nouba_invariant_last_check_timestamp_seconds 0.0")
            assert "on watch" not in second.log

            first.kill()
            wait_until(lambda: "on watch" in second.log)
            wait_until(lambda: shown(second, "nouba_ledger_drift_minor 1.0"))
