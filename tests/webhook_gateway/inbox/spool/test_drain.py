"""What the spool holds comes into the inbox by the batch, and as if each event had come alone."""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg2
import pytest
from sqlalchemy import Engine, event
from structlog.testing import capture_logs

from services.webhook_gateway.inbox.postgres import PostgresInbox
from services.webhook_gateway.inbox.spool.drain import BATCH_SIZE, Drain
from services.webhook_gateway.inbox.spool.fallback_inbox import Presence
from services.webhook_gateway.inbox.spool.spool import Spool
from shared.runtime.database import build_engine
from tests.waiting import wait_until
from tests.webhook_gateway.inbox.spool.test_spool import MIB, entry
from tests.webhook_gateway.processes import Database


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = build_engine(database_url, pool_size=1, application="drain", statement_timeout_ms=5000)
    yield engine
    engine.dispose()


@pytest.fixture
def database(database_url: str) -> Database:
    return Database(database_url)


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", 16 * MIB, 10_000)


@contextlib.contextmanager
def draining(engine: Engine, spool: Spool) -> Iterator[None]:
    """Until the spool is empty; the block comes first."""
    drain = Drain(engine, spool, Presence(), wake=threading.Event().set)
    drain.start()
    try:
        yield
        wait_until(lambda: spool.usage().events == 0, 30)
    finally:
        drain.stop()


def test_a_batch_is_one_statement_and_has_the_order_of_arrival(
    engine: Engine, spool: Spool, database: Database
) -> None:
    arrived = [f"e{number * 37 % 100}" for number in range(100)]
    for key in arrived:
        spool.append(entry(key))
    statements: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda _c, _k, statement, *_rest: statements.append(statement))

    with draining(engine, spool):
        pass

    assert [key for _, key, _, _ in database.events()] == arrived
    assert len([statement for statement in statements if "webhook_events" in statement]) == 1
    assert database.counts()["outbox"] == 100


def test_of_a_batch_each_becomes_what_it_would_have_become_alone(
    engine: Engine, spool: Spool, database: Database, database_url: str
) -> None:
    # Given an event that is known, and in the spool: it again, it with another body, one that is new, that one with
    # another body, and one between them
    live = build_engine(database_url, autocommit=True)
    PostgresInbox(live).keep(replace(entry("known"), received_at=None))
    live.dispose()
    for key, body in [("known", b"{}"), ("known", b"other"), ("new", b"{}"), ("between", b"{}"), ("new", b"other")]:
        spool.append(entry(key, body))

    with draining(engine, spool):
        pass

    kept = sorted((key.partition("#")[0], state, body) for _, key, state, body in database.events())
    assert kept == [
        ("between", "received", b"{}"),
        ("known", "quarantined", b"other"),
        ("known", "received", b"{}"),
        ("new", "quarantined", b"other"),
        ("new", "received", b"{}"),
    ]
    reasons = {reason for (reason,) in database.rows("SELECT reason FROM webhook_events WHERE reason IS NOT NULL")}
    ids = {key: event_id for event_id, key, _, _ in database.events()}
    assert reasons == {f"webhook {ids[key]} has the same id and another body" for key in ("known", "new")}
    assert database.counts()["outbox"] == 3


def test_what_the_database_does_not_take_is_put_aside_alone(engine: Engine, spool: Spool, database: Database) -> None:
    database.execute("ALTER TABLE webhook_events ADD CHECK (position('poison'::bytea in body) = 0)")
    keys = [f"e{number}" for number in range(150)]
    for number, key in enumerate(keys):
        spool.append(entry(key, b"poison" if number in (17, 18, 120) else b"{}"))

    with draining(engine, spool):
        pass

    assert [key for _, key, _, _ in database.events()] == [k for n, k in enumerate(keys) if n not in (17, 18, 120)]
    assert spool.usage().refused == 3


def test_a_live_webhook_with_the_same_keys_in_another_order_costs_no_event(
    engine: Engine, spool: Spool, database: Database, database_url: str
) -> None:
    for key in ("a", "b"):
        spool.append(entry(key))
    insert = (
        "INSERT INTO webhook_events (provider, dedupe_key, state, method, headers, body, body_sha256, signed) "
        "VALUES ('generic', %s, 'received', 'POST', '{}', %s, sha256(%s), true) ON CONFLICT DO NOTHING"
    )
    waits = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'drain' AND wait_event_type = 'Lock'"
    with contextlib.closing(psycopg2.connect(database_url)) as live:
        cursor = live.cursor()
        # so that the drain is the one whom PostgreSQL chooses
        cursor.execute("SET deadlock_timeout = '60s'")
        cursor.execute(insert, ("b", b"{}", b"{}"))
        with draining(engine, spool):
            wait_until(lambda: database.rows(waits) == [(1,)], 10)
            cursor.execute(insert, ("a", b"{}", b"{}"))
            live.commit()

    assert sorted(key for _, key, _, _ in database.events()) == ["a", "b"]
    assert spool.usage().refused == 0


def test_an_event_that_another_session_holds_holds_up_no_other_and_is_reported(
    engine: Engine, spool: Spool, database: Database, database_url: str
) -> None:
    # Given one of twenty spooled events whose key another session has written and not committed
    for number in range(20):
        spool.append(entry(f"e{number}"))
    presence = Presence()
    drain = Drain(engine, spool, presence, wake=threading.Event().set)
    with contextlib.closing(psycopg2.connect(database_url)) as other:
        other.cursor().execute(
            "INSERT INTO webhook_events (provider, dedupe_key, state, method, headers, body, body_sha256, signed) "
            "VALUES ('generic', 'e7', 'received', 'POST', '{}', '{}', sha256('{}'), true)"
        )
        with capture_logs() as logs:
            drain.start()
            try:
                # Then the others are kept meanwhile, the database counts as there, and what stays is said
                wait_until(lambda: spool.usage().events == 1, 30)
                wait_until(lambda: logs, 10)
                assert [key for _, key, _, _ in database.events()] == [f"e{n}" for n in range(20) if n != 7]
                assert not presence.unavailable
                wait_until(lambda: drain.undrained_seconds(spool.usage()) > 3, 20)
                assert {log["event"] for log in logs} == {"the spool was not drained, trying again"}
                assert len(logs) == 1

                # And the last one comes as soon as it can
                other.rollback()
                wait_until(lambda: spool.usage().events == 0, 10)
            finally:
                drain.stop()
    assert len(database.events()) == 20
    assert spool.usage().refused == 0


def test_a_database_that_takes_probes_and_no_events_is_not_ready(
    engine: Engine, spool: Spool, database: Database
) -> None:
    """It answers each probe, so that without the drain's own clock readiness would begin anew each time."""
    database.execute(
        "CREATE FUNCTION refuse_event() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'no space' USING ERRCODE = 'disk_full'; END $$"
    )
    database.execute(
        "CREATE TRIGGER disk_is_full BEFORE INSERT ON webhook_events FOR EACH ROW WHEN (NEW.provider <> 'probe') "
        "EXECUTE FUNCTION refuse_event()"
    )
    spool.append(entry("e1"))
    drain = Drain(engine, spool, Presence(), wake=threading.Event().set)
    drain.start()
    try:
        wait_until(lambda: drain.undrained_seconds(spool.usage()) > 3, 20)
    finally:
        drain.stop()


def test_two_gateways_with_the_same_events_in_another_order_do_not_wait_for_each_other(
    engine: Engine, spool: Spool, database: Database, database_url: str, tmp_path: Path
) -> None:
    other_engine = build_engine(database_url, pool_size=1, application="other drain", statement_timeout_ms=5000)
    other_spool = Spool(tmp_path / "other spool", 16 * MIB, 10_000)
    database.execute(
        "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.002); RETURN NEW; END'"
    )
    database.execute("CREATE TRIGGER dawdle BEFORE INSERT ON webhook_events FOR EACH ROW EXECUTE FUNCTION dawdle()")
    keys = [f"e{number}" for number in range(3 * BATCH_SIZE)]
    for number in range(0, len(keys), BATCH_SIZE):
        for key in keys[number : number + BATCH_SIZE]:
            spool.append(entry(key))
        for key in reversed(keys[number : number + BATCH_SIZE]):
            other_spool.append(entry(key))

    with draining(engine, spool), draining(other_engine, other_spool):
        pass

    for one in (engine, other_engine):
        one.dispose()  # which makes the server add up what it has counted
    assert sorted(key for _, key, _, _ in database.events()) == sorted(keys)
    assert database.counts()["outbox"] == len(keys)
    assert database.rows("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == [(0,)]
