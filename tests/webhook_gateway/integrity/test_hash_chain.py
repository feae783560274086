"""The chain of seals: what is changed, deleted or put in behind our back is named, and nothing else."""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from subprocess import CompletedProcess

import psycopg2
import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError

from services.webhook_gateway.integrity.hash_chain import GENESIS, HashChainWriter, bind, read_head
from services.webhook_gateway.integrity.verify_chain import verify
from shared.runtime.database import build_engine
from tests.command_line import nouba
from tests.webhook_gateway.processes import Database

EVENTS = 6


@pytest.fixture
def database(database_url: str) -> Database:
    """An inbox of six events, each of which has paid ten to the one user."""
    database = Database(database_url)
    database.execute("INSERT INTO users (name, balance_minor) VALUES ('', 60)")
    database.execute("INSERT INTO ledger_accounts (kind, provider) VALUES ('psp_clearing', 'generic')")
    database.execute("INSERT INTO ledger_accounts (kind, user_id) VALUES ('user_wallet', 1)")
    for number in range(EVENTS):
        add_event(database, f"e{number}")
        database.execute(
            "WITH t AS (INSERT INTO ledger_transactions (kind, event_id) VALUES ('payment', %s) RETURNING id) "
            "INSERT INTO ledger_entries (transaction_id, account_id, amount_minor, currency) "
            "SELECT id, account, amount, 'DZD' FROM t, (VALUES (1, -10), (2, 10)) entries (account, amount)",
            number + 1,
        )
    return database


@pytest.fixture
def engine(database: Database) -> Iterator[Engine]:
    engine = build_engine(database.url, pool_size=4)
    yield engine
    engine.dispose()


def add_event(database: Database, key: str) -> None:
    database.execute(
        "INSERT INTO webhook_events (provider, dedupe_key, body, body_sha256) VALUES ('generic', %s, 'b', 'b')", key
    )


def seal(engine: Engine) -> int:
    with engine.connect() as connection:
        return HashChainWriter(connection).seal()


def tamper(database: Database, statement: str) -> None:
    """As somebody would who may do everything."""
    with closing(psycopg2.connect(database.url)) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(statement)


def faults(engine: Engine, **options: object) -> list[str]:
    return [str(fault) for fault in verify(engine, settled_after="0 seconds", **options).faults]  # type: ignore[arg-type]


def test_every_event_account_and_transaction_is_sealed_once(engine: Engine, database: Database) -> None:
    assert seal(engine) == 2 * EVENTS + 2
    assert seal(engine) == 0

    report = verify(engine, settled_after="0 seconds")

    assert (report.seals, report.faults) == (2 * EVENTS + 2, [])
    positions = [row[0] for row in database.rows("SELECT position FROM seals ORDER BY position")]
    assert positions == list(range(1, 2 * EVENTS + 3))


def test_a_seal_is_the_sha256_of_the_one_before_and_of_the_row_as_documented(
    engine: Engine, database: Database
) -> None:
    seal(engine)
    received_us = database.rows("SELECT (extract(epoch FROM received_at) * 1000000)::bigint FROM webhook_events")[0][0]
    body = hashlib.sha256(b"b").hexdigest()
    row = ["event", 1, "generic", "e0", "POST", {}, body, b"b".hex(), None, True, None, received_us, None]

    first = database.rows("SELECT digest FROM seals WHERE position = 1")[0][0]

    assert first == bind(GENESIS, hashlib.sha256(json.dumps(row).encode()).digest())


def test_what_may_change_is_not_sealed(engine: Engine, database: Database) -> None:
    seal(engine)

    database.execute("UPDATE webhook_events SET state = 'applied', reason = 'x', attempts = 3, processed_at = now()")

    assert faults(engine) == []


def test_a_row_that_is_committed_late_is_sealed_late(engine: Engine, database: Database) -> None:
    with closing(psycopg2.connect(database.url)) as late, engine.connect() as connection:
        late.cursor().execute(
            "INSERT INTO webhook_events (provider, dedupe_key, body, body_sha256) VALUES ('generic', 'late', '', '')"
        )
        add_event(database, "after it")
        sealer = HashChainWriter(connection)
        sealer.seal()
        late.commit()

        assert sealer.seal() == 1
    assert faults(engine) == []


TAMPERINGS: dict[str, tuple[str, list[str]]] = {
    "a body": ("UPDATE webhook_events SET body = 'x' WHERE id = 3", ["event 3 (seal 3): was altered"]),
    "a time": (
        "UPDATE webhook_events SET received_at = received_at - interval '1 day' WHERE id = 6",
        ["event 6 (seal 6): was altered"],
    ),
    "the last row": (
        "UPDATE ledger_transactions SET event_id = 1, kind = 'activation' WHERE id = 6",
        ["transaction 6 (seal 14): was altered"],
    ),
    "an account's owner": (
        "UPDATE ledger_accounts SET provider = 'other' WHERE id = 1",
        ["account 1 (seal 7): was altered"],
    ),
    "two amounts": (
        "UPDATE ledger_entries SET amount_minor = 2 * amount_minor WHERE transaction_id = 2",
        ["transaction 2 (seal 10): was altered", "user 1: the balance differs from the entries by 10"],
    ),
    "an entry more": (
        "INSERT INTO ledger_entries (transaction_id, account_id, amount_minor, currency) VALUES (1, 2, 5, 'DZD')",
        [
            "transaction 1 (seal 9): was altered",
            "transaction 1: its entries do not sum to zero, but to 5",
            "user 1: the balance differs from the entries by 5",
        ],
    ),
    "an event less": ("DELETE FROM webhook_events WHERE id = 4", ["event 4 (seal 4): was deleted"]),
    "a row put in": (
        "INSERT INTO webhook_events (id, provider, dedupe_key, body, body_sha256) VALUES (-5, 'generic', 'x', '', '')",
        ["event -5: was put in behind our back: it has no seal"],
    ),
    "a seal": (
        "UPDATE seals SET digest = sha256('x') WHERE position = 5",
        ["seal 5: was altered: event 5 is as it was sealed"],
    ),
    "a balance": (
        "UPDATE users SET balance_minor = 61",
        ["user 1: the balance differs from the entries by 1"],
    ),
}


@pytest.mark.parametrize("what", TAMPERINGS)
def test_what_was_tampered_with_is_named_and_nothing_else(engine: Engine, database: Database, what: str) -> None:
    statement, expected = TAMPERINGS[what]
    seal(engine)
    assert faults(engine) == []

    tamper(database, statement)

    assert faults(engine) == expected


PAID = (
    "INSERT INTO payments (provider, provider_reference, user_id, amount_minor, status) VALUES "
    "('generic', 'p1', 1, 10, 'completed'), ('generic', 'p2', 1, 10, 'pending')"
)
QUARANTINED = (
    "INSERT INTO webhook_events (provider, dedupe_key, state, reason, body, body_sha256) VALUES "
    "('generic', 'odd', 'quarantined', 'amount differs', '', '')"
)
ACT = "INSERT INTO operator_acts (who, what, why, ids) VALUES ('Amina', 'event.dismiss', 'a test', '[7]')"
OWNER_TAMPERINGS: dict[str, tuple[str, list[str]]] = {
    "a payment's amount": (
        "UPDATE payments SET amount_minor = 1000 WHERE id = 1",
        ["payment 1: was altered: its record differs"],
    ),
    "a payment's user": (
        "UPDATE payments SET user_id = 2 WHERE id = 1",
        ["payment 1: was altered: its record differs"],
    ),
    "a payment that is completed behind our back": (
        "UPDATE payments SET status = 'completed' WHERE id = 2",
        ["payment 2: has no record"],
    ),
    "a payment that is pending again": (
        "UPDATE payments SET status = 'pending' WHERE id = 1",
        ["payment 1: was altered: its record differs"],
    ),
    "a payment less": ("DELETE FROM payments WHERE id = 1", ["payment 1: was deleted"]),
    "a verdict": (
        "UPDATE webhook_events SET resolution = 'dismissed' WHERE id = 7",
        ["verdict 7: was altered: its record differs"],
    ),
    "a quarantined event that is ignored": (
        "UPDATE webhook_events SET state = 'ignored' WHERE id = 7",
        ["verdict 7: was altered: its record differs"],
    ),
    "an act's person": (
        "UPDATE operator_acts SET who = 'Karim'",
        ["act 1 (seal 16): was altered"],
    ),
    "an act less": ("DELETE FROM operator_acts", ["act 1 (seal 16): was deleted"]),
    "a record": (
        "UPDATE row_versions SET digest = sha256('x') WHERE id = 1",
        ["version 1 (seal 17): was altered", "payment 1: was altered: its record differs"],
    ),
}


@pytest.mark.parametrize("what", OWNER_TAMPERINGS)
def test_payments_verdicts_and_acts_are_sealed_too(engine: Engine, database: Database, what: str) -> None:
    # Given a completed and a pending payment, a quarantined event and an operator's act, all sealed
    statement, expected = OWNER_TAMPERINGS[what]
    for made in (PAID, QUARANTINED, ACT):
        database.execute(made)
    seal(engine)
    assert faults(engine) == []

    # When the owner changes one of them, past the triggers
    tamper(database, statement)

    # Then it is named
    assert faults(engine) == expected


DAY_BEFORE = "interval '1 day'"
#: By table, each column that a seal covers, and another value of it.
SEALED_COLUMNS: dict[str, dict[str, str]] = {
    "operator_acts": {
        "who": "'Karim'",
        "what": "'dead.replay'",
        "why": "'another reason'",
        "credential": "'another'",
        "ids": "'[8]'",
        "chosen_by": """'{"state": "dead"}'""",
        "acted_at": f"acted_at - {DAY_BEFORE}",
    },
    "payments": {
        "provider": "'stripe'",
        "provider_reference": "'another'",
        "order_number": "'another'",
        "user_id": "2",
        "amount_minor": "amount_minor + 1",
        "amount_is_final": "NOT amount_is_final",
        "currency": "'EUR'",
        "refunded_minor": "1",
        "credited_minor": "1",
        "fee_minor": "1",
        "completed_at": f"now() - {DAY_BEFORE}",
    },
    "webhook_events": {
        "provider": "'stripe'",
        "dedupe_key": "'another'",
        "method": "'GET'",
        "headers": """'{"a": "b"}'""",
        "body": "'another'",
        "body_sha256": "sha256('another')",
        "reference": "'another'",
        "signed": "NOT coalesce(signed, false)",
        "secret": "coalesce(secret, 0) + 1",
        "received_at": f"received_at - {DAY_BEFORE}",
        "drained_at": "now()",
    },
}


@pytest.mark.parametrize("table", SEALED_COLUMNS)
def test_no_column_that_a_seal_covers_is_altered_unnoticed(engine: Engine, database: Database, table: str) -> None:
    # Given a row of each kind, sealed
    for made in (PAID, QUARANTINED, ACT):
        database.execute(made)
    seal(engine)
    database.execute(f"CREATE TABLE kept AS SELECT * FROM {table} WHERE id = 1")  # noqa: S608
    unnoticed = []

    # When the owner changes one column after the other, and then back
    for column, value in SEALED_COLUMNS[table].items():
        tamper(database, f"UPDATE {table} SET {column} = {value} WHERE id = 1")  # noqa: S608
        if not faults(engine):
            unnoticed.append(column)
        tamper(database, f"UPDATE {table} AS r SET {column} = kept.{column} FROM kept WHERE r.id = kept.id")  # noqa: S608
        assert faults(engine) == [], column

    # Then each is named
    assert unnoticed == []


def test_what_happens_to_payments_and_verdicts_in_good_order_is_no_fault(engine: Engine, database: Database) -> None:
    # Given a payment and a quarantined event
    for made in (PAID, QUARANTINED):
        database.execute(made)
    seal(engine)

    # When the payment is refunded, and the event accepted, parked, and booked
    for step in (
        "UPDATE payments SET status = 'completed', completed_at = now() WHERE id = 2",
        "UPDATE payments SET status = 'refunded', refunded_minor = 10 WHERE id = 1",
        "UPDATE payments SET asks = 3, next_ask_at = now()",
        "UPDATE webhook_events SET resolution = 'dismissed' WHERE id = 7",
        "UPDATE webhook_events SET resolution = NULL WHERE id = 7",
        "UPDATE webhook_events SET state = 'received', processed_at = NULL WHERE id = 7",
        "UPDATE webhook_events SET reason = 'waits', attempts = 1 WHERE id = 7",
        "UPDATE webhook_events SET state = 'applied', reason = NULL, payment_id = 1 WHERE id = 7",
    ):
        database.execute(step)
        # Then no step is a fault
        assert faults(engine) == [], step
    seal(engine)
    assert faults(engine) == []


@pytest.mark.parametrize(
    "table",
    [
        "webhook_events",
        "payments",
        "ledger_accounts",
        "ledger_transactions",
        "ledger_entries",
        "ledger_adjustments",
        "provider_payouts",
        "operator_acts",
        "row_versions",
        "seals",
    ],
)
def test_a_table_of_record_is_not_emptied(database: Database, table: str) -> None:
    with pytest.raises(psycopg2.Error, match=r"is not emptied|only ever added"):
        database.execute(f"TRUNCATE {table} CASCADE")


@pytest.mark.parametrize("table", ["operator_acts", "row_versions"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET id = id", "DELETE FROM {}"])
def test_acts_and_records_are_only_added(database: Database, table: str, statement: str) -> None:
    with pytest.raises(psycopg2.Error, match="only ever added"):
        database.execute(statement.format(table))


def test_a_seal_that_is_missing_is_named(engine: Engine, database: Database) -> None:
    seal(engine)

    tamper(database, "DELETE FROM seals WHERE position = 5")

    assert faults(engine)[0] == "seal 5: is missing"


def test_a_chain_that_was_made_anew_is_found_by_the_head_that_was_noted(engine: Engine, database: Database) -> None:
    seal(engine)
    with engine.connect() as connection:
        noted = read_head(connection)
    assert faults(engine, noted=noted) == []

    tamper(database, "UPDATE webhook_events SET body = 'x' WHERE id = 1; DELETE FROM seals")
    seal(engine)

    assert faults(engine) == []
    assert faults(engine, noted=noted) == ["seal 14: is not the one that was noted: the chain was made anew"]
    tamper(database, "DELETE FROM seals WHERE position > 13")
    assert any("the end of the chain was cut off" in fault for fault in faults(engine, noted=noted))


def test_the_walk_may_begin_later(engine: Engine, database: Database) -> None:
    seal(engine)
    tamper(database, "UPDATE webhook_events SET body = 'x' WHERE id = 2")

    assert faults(engine, start=3) == []


@pytest.mark.parametrize("statement", ["UPDATE seals SET what = what", "DELETE FROM seals", "TRUNCATE seals"])
def test_the_database_lets_nobody_change_a_seal(engine: Engine, database: Database, statement: str) -> None:
    seal(engine)

    with pytest.raises(psycopg2.Error, match="only ever added"):
        database.execute(statement)


def test_a_second_sealer_cannot_fork_the_chain(engine: Engine, database: Database) -> None:
    seal(engine)
    with engine.connect() as connection, pytest.raises(IntegrityError), connection.begin():
        connection.exec_driver_sql(
            "INSERT INTO seals (position, what, row_id, digest) VALUES (14, 'event', 99, sha256('x'))"
        )


@pytest.fixture
def ledger(database: Database) -> Callable[..., "CompletedProcess[str]"]:
    return partial(nouba, "ledger", NOUBA_DATABASE_URL=database.url)


def test_the_command_prints_the_head_and_fails_on_a_fault(
    engine: Engine, database: Database, ledger: Callable[..., "CompletedProcess[str]"]
) -> None:
    seal(engine)
    newest = ledger("head").stdout.strip()

    good = ledger("verify", "--expect-head", newest, "--json")
    tamper(database, "UPDATE webhook_events SET body = 'x' WHERE id = 3")
    bad = ledger("verify")

    assert newest.startswith("14:")
    assert (good.returncode, json.loads(good.stdout)) == (0, {"seals": 14, "head": newest, "faults": []})
    assert bad.returncode == 1
    assert "event 3 (seal 3): was altered" in bad.stdout
    assert ledger("verify", "--expect-head", "nonsense").returncode == 2
