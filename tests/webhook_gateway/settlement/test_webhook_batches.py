"""One message for webhooks that were committed together, from the accept path to the balances, through crashes."""

import signal
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine

from services.webhook_gateway.inbox.postgres import ConnectionInbox
from services.webhook_gateway.providers.base import Request
from shared.runtime.database import build_engine
from tests.waiting import wait_until
from tests.webhook_gateway.inbox.test_postgres import entry
from tests.webhook_gateway.processes import Database, RunningWorker, paid

EVENTS = 5


@pytest.fixture
def database(database_url: str) -> Database:
    """With an event of each of five users, kept in one statement."""
    database = Database(database_url)
    database.execute("INSERT INTO users (name) SELECT 'Student' FROM generate_series(1, %s)", EVENTS)
    engine: Engine = build_engine(database_url, pool_size=1, autocommit=True)
    entries = []
    for (user_id,) in database.rows("SELECT id FROM users"):
        delivery = paid("generic", user_id=user_id)
        headers = {name.lower(): value for name, value in delivery.headers.items()}
        read = entry(f"e{user_id}", delivery.body)
        entries.append(replace(read, request=Request("POST", headers, delivery.body), reference=f"tr{user_id}"))
    with engine.connect() as connection:
        ConnectionInbox(connection).keep_all(entries)
    engine.dispose()
    return database


def is_settled(database: Database) -> bool:
    return database.rows("SELECT count(*) FROM webhook_events WHERE state = 'applied'") == [(EVENTS,)]


def test_a_batch_is_settled_by_one_message(database: Database, rabbitmq_url: str, tmp_path: Path) -> None:
    with RunningWorker(tmp_path / "log", database.url, rabbitmq_url) as worker:
        wait_until(lambda: is_settled(database), 30)
        assert worker.stop() == 0
    assert worker.log.count("webhooks settled") == 1
    assert database.rows("SELECT count(*) FROM payments WHERE status = 'completed'") == [(EVENTS,)]


@pytest.mark.parametrize(
    "place",
    [
        pytest.param("settlement.after_claim", marks=pytest.mark.slow),
        "settlement.before_commit",
        pytest.param("settlement.after_commit", marks=pytest.mark.slow),
    ],
)
def test_events_whose_worker_died_are_settled_each_alone(
    database: Database, rabbitmq_url: str, tmp_path: Path, place: str
) -> None:
    # Given a worker that dies with the batch in hand
    with RunningWorker(tmp_path / "first", database.url, rabbitmq_url, NOUBA_FAILPOINTS=f"{place}=kill") as first:
        assert first.process.wait(60) == -signal.SIGKILL

    # When the message is delivered again
    with RunningWorker(tmp_path / "second", database.url, rabbitmq_url) as second:
        wait_until(lambda: is_settled(database) and "each is settled alone" in second.log, 60)
        assert second.stop() == 0

    # Then none is lost, and none is booked twice
    assert database.rows("SELECT count(*), count(DISTINCT user_id) FROM payments") == [(EVENTS, EVENTS)]
    assert database.rows("SELECT count(*) FROM ledger_transactions") == [(EVENTS,)]
