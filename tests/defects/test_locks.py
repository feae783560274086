"""What one process reads to decide by, no other may change meanwhile; and the second one is refused."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from local.psp.signed_webhooks import Payment, signed
from services.webhook_gateway.inbox.accept import WebhookEvent, read_entry
from services.webhook_gateway.inbox.postgres import ConnectionInbox, PostgresInbox
from services.webhook_gateway.providers.base import Request
from services.webhook_gateway.providers.generic import Generic
from services.webhook_gateway.settlement.postgres import open_store
from shared.runtime.database import build_engine
from tests.waiting import wait_until

PERIOD = timedelta(days=30)
PSP = Generic(["secret-of-the-locks"])
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """A transaction that waits for a lock gives up soon."""
    engine = build_engine(database_url, autocommit=True, statement_timeout_ms=500)
    yield engine
    engine.dispose()


def paid_entry() -> WebhookEvent:
    delivery = signed("generic", ["secret-of-the-locks"], Payment(reference="t1", amount_minor=100, user_id=1))
    request = Request("POST", {name.lower(): value for name, value in delivery.headers.items()}, delivery.body)
    return read_entry(PSP, request, PSP.verify(request))


def test_an_event_that_another_process_is_keeping_is_a_duplicate_and_no_error(database_url: str) -> None:
    ours, theirs = build_engine(database_url, autocommit=True), build_engine(database_url)
    entry, commit = paid_entry(), threading.Event()

    def keep_slowly() -> int | None:
        with theirs.begin() as connection:
            kept = ConnectionInbox(connection).keep(entry)
            begun.set()
            assert commit.wait(20)
            return kept.event_id

    def somebody_waits() -> bool:
        with theirs.connect() as connection:
            return bool(connection.exec_driver_sql(WAITING).scalar())

    begun = threading.Event()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(keep_slowly)
        assert begun.wait(20)
        second = pool.submit(PostgresInbox(ours).keep, entry)
        wait_until(somebody_waits)
        commit.set()
        assert (second.result(20).event_id, second.result().is_new) == (first.result(20), False)
    ours.dispose()
    theirs.dispose()


def test_an_event_belongs_to_one_settlement_until_its_end(engine: Engine, database_url: str) -> None:
    keeping = build_engine(database_url, autocommit=True)
    event_id = PostgresInbox(keeping).keep(paid_entry()).event_id
    keeping.dispose()
    assert event_id is not None

    with open_store(engine, PERIOD) as first:
        assert first.claim([event_id])
        with pytest.raises(OperationalError), open_store(engine, PERIOD) as second:
            second.claim([event_id])


def test_a_users_balance_belongs_to_one_settlement_until_its_end(engine: Engine) -> None:
    """Else two payments of one user find the same balance, and neither sees that both together pay for something."""
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO users (id) VALUES (1)")

    with open_store(engine, PERIOD) as first:
        assert first.balance(1) == 0
        with pytest.raises(OperationalError), open_store(engine, PERIOD) as second:
            second.balance(1)

    with open_store(engine, PERIOD) as next_one:
        assert next_one.balance(1) == 0
