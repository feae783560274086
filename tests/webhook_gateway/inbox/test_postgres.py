"""The inbox in PostgreSQL keeps an event and its outbox row together, once, whatever happens around it."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import Engine, event
from sqlalchemy.exc import IntegrityError

from services.webhook_gateway.inbox.accept import WebhookEvent
from services.webhook_gateway.inbox.postgres import ConnectionInbox, PostgresInbox
from services.webhook_gateway.providers.base import Proof, Request
from shared.contracts.webhooks import EventState
from shared.runtime.database import build_engine
from tests.webhook_gateway.processes import Database

THREADS = 8


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = build_engine(database_url, pool_size=THREADS, autocommit=True)
    yield engine
    engine.dispose()


@pytest.fixture
def database(database_url: str) -> Database:
    return Database(database_url)


def entry(key: str, body: bytes = b"{}", headers: dict[str, str] | None = None) -> WebhookEvent:
    return WebhookEvent(
        provider="generic",
        dedupe_key=key,
        state=EventState.RECEIVED,
        reason=None,
        request=Request("POST", headers or {}, body),
        body_sha256=hashlib.sha256(body).digest(),
        reference="t1",
        proof=Proof(signed=True, secret=1),
    )


def statements_of(engine: Engine) -> list[str]:
    """What goes over the connections from now on."""
    statements: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda _c, _k, statement, *_rest: statements.append(statement))
    return statements


def test_the_event_and_its_outbox_row_are_one_statement(engine: Engine, database: Database) -> None:
    inbox, statements = PostgresInbox(engine), statements_of(engine)

    inbox.keep(entry("e1"))

    assert len(statements) == 2, "a connection prepares the statement once"
    inbox.keep(entry("e2"))
    assert len(statements) == 3
    assert database.counts()["webhook_events"] == database.counts()["outbox"] == 2


def test_a_connection_that_may_have_prepared_the_statement_is_not_used_again(
    engine: Engine, database: Database
) -> None:
    """A time limit strikes anywhere, also there: the connection would refuse to prepare it a second time."""
    struck: list[str] = []

    def strike(_connection: object, cursor: Any, statement: str, *_rest: object) -> None:
        if "PREPARE" in statement and not struck:
            struck.append(statement)
            cursor.execute(statement)
            raise KeyboardInterrupt

    event.listen(engine, "before_cursor_execute", strike)
    with pytest.raises(KeyboardInterrupt), engine.connect() as connection:
        ConnectionInbox(connection).keep(entry("e1"))
    with engine.connect() as connection:
        ConnectionInbox(connection).keep(entry("e1"))
    assert database.counts()["webhook_events"] == 1


def test_without_the_outbox_row_the_event_is_not_kept_either(engine: Engine, database: Database) -> None:
    with engine.connect() as connection:
        connection.exec_driver_sql("ALTER TABLE outbox ADD CONSTRAINT closed CHECK (false)")

    with pytest.raises(IntegrityError):
        PostgresInbox(engine).keep(entry("e1"))

    assert database.counts()["webhook_events"] == 0


def test_without_the_event_no_outbox_row_is_made(engine: Engine, database: Database) -> None:
    with engine.connect() as connection:
        connection.exec_driver_sql("ALTER TABLE webhook_events ADD CONSTRAINT closed CHECK (false)")

    with pytest.raises(IntegrityError):
        PostgresInbox(engine).keep(entry("e1"))

    assert database.counts()["outbox"] == 0


def test_of_many_deliveries_at_once_one_is_new_and_all_get_the_same_id(engine: Engine, database: Database) -> None:
    inbox, together = PostgresInbox(engine), Barrier(THREADS)

    def keep(round_number: int) -> tuple[int | None, bool]:
        together.wait(10)
        kept = inbox.keep(entry(f"e{round_number}"))
        return kept.event_id, kept.is_new

    with ThreadPoolExecutor(THREADS) as pool:
        for round_number in range(10):
            kept = list(pool.map(keep, [round_number] * THREADS))

            assert len({event_id for event_id, _ in kept}) == 1
            assert [is_new for _, is_new in kept].count(True) == 1
    assert database.counts()["webhook_events"] == database.counts()["outbox"] == 10


def test_connections_that_the_server_has_closed_are_noticed_without_a_failure(
    engine: Engine, database_url: str
) -> None:
    inbox, together = PostgresInbox(engine), Barrier(THREADS)

    def hold(_: int) -> None:
        with engine.connect():
            together.wait(10)

    with ThreadPoolExecutor(THREADS) as pool:
        # Given as many open connections as the pool holds, all of them closed by the server
        list(pool.map(hold, range(THREADS)))
        # of this database: other tests have theirs on the same server
        others = (
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE application_name = 'nouba' AND datname = current_database()"
        )
        outside = build_engine(database_url, application="outside")
        with outside.connect() as connection:
            assert connection.exec_driver_sql(others).scalar_one() == THREADS
        outside.dispose()

        # When all of them are asked for at once, and in a row
        at_once = list(pool.map(lambda n: inbox.keep(entry(f"at once {n}")), range(THREADS)))
    in_a_row = [inbox.keep(entry(f"in a row {n}")) for n in range(THREADS)]

    # Then nobody was notified
    assert all(kept.is_new for kept in [*at_once, *in_a_row])


def test_bytes_and_headers_are_kept_exactly(engine: Engine, database: Database) -> None:
    body, headers = bytes(range(256)) * 4, {"webhook-id": "é ' \" \\ %s"}

    PostgresInbox(engine).keep(entry("é ' \\ %(x)s", body, headers))

    row = database.rows("SELECT dedupe_key, body, headers, reference, signed, secret FROM webhook_events")[0]
    assert row == ("é ' \\ %(x)s", body, headers, "t1", True, 1)


def hint(key: str, reference: str = "order-1") -> WebhookEvent:
    request = Request("GET", {}, f"orderId={reference}".encode())
    digest = hashlib.sha256(request.body).digest()
    kept = replace(entry(key), request=request, body_sha256=digest, reference=reference, proof=Proof(signed=False))
    return replace(kept, provider="satim")


def test_an_order_has_one_open_question(engine: Engine, database: Database) -> None:
    # Given an order that is asked about, and one that is not
    inbox = PostgresInbox(engine)
    first = inbox.keep(hint("hint:order-1:redirect"))

    # When hints come under other keys
    again = inbox.keep(hint("hint:order-1:deposited"))
    other = inbox.keep(hint("hint:order-2:redirect", "order-2"))

    # Then the open question is due at once, and there is one an order
    assert (again.event_id, again.is_new) == (first.event_id, False)
    assert other.is_new
    assert database.counts()["webhook_events"] == 2
    assert database.counts()["outbox"] == 3

    # and when it is answered, the next hint is a question of its own
    with engine.connect() as connection:
        connection.exec_driver_sql("UPDATE webhook_events SET state = 'applied', processed_at = now()")
    assert inbox.keep(hint("hint:order-1:refunded")).is_new


def test_a_signed_event_is_kept_beside_an_open_question(engine: Engine, database: Database) -> None:
    inbox = PostgresInbox(engine)
    inbox.keep(hint("hint:order-1:redirect"))

    signed = replace(hint("order-1:deposited"), proof=Proof(signed=True, secret=0))

    assert inbox.keep(signed).is_new
    assert database.counts()["webhook_events"] == 2


def test_what_is_kept_together_has_one_message_and_what_takes_long_one_of_its_own(
    engine: Engine, database: Database
) -> None:
    together = [entry(f"e{number}") for number in range(3)]
    hint = replace(entry("hint"), is_hint=True, reference="t2")
    drained = replace(entry("drained"), received_at=datetime.now(UTC))
    quarantined = replace(entry("quarantined"), state=EventState.QUARANTINED, reason="unreadable")

    with engine.connect() as connection:
        kept = ConnectionInbox(connection).keep_all([*together, hint, drained, quarantined, together[0]])

    ids = [one.event_id for one in kept]
    assert ids[0] == ids[-1]
    messages = database.rows("SELECT message -> 'kwargs' FROM outbox ORDER BY message ->> 'actor_name', id")
    assert [message for (message,) in messages] == [
        {"event_id": ids[3]},
        {"event_id": ids[4]},
        {"event_ids": ids[:3]},
    ]
