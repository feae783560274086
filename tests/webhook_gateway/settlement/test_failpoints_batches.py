"""A worker that is killed, fails or is slow at any step of a batch settles each of its events once."""

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Sequence

import pytest

from local.psp.signed_webhooks import Payment, signed
from services.webhook_gateway.http.unverified_rate_limit import UnverifiedRateLimit
from services.webhook_gateway.inbox.accept import accept
from services.webhook_gateway.inbox.postgres import PostgresInbox
from services.webhook_gateway.providers.base import Request
from services.webhook_gateway.providers.generic import Generic
from shared.runtime.database import build_engine
from tests.failpoint_places import ACTIONS, BATCHES, KILL, every
from tests.webhook_gateway.processes import Database
from tests.webhook_gateway.programs import settle_message

SECRET = "secret-of-the-failpoints"


@pytest.fixture
def school(database_url: str) -> Database:
    """Three users, with a paid webhook each; nothing is enqueued for them."""
    school = Database(database_url)
    school.execute("INSERT INTO users (id) VALUES (1), (2), (3)")
    engine = build_engine(school.url, autocommit=True)
    inbox, limit = PostgresInbox(engine), UnverifiedRateLimit(10, 10)
    for user_id in (1, 2, 3):
        delivery = signed("generic", [SECRET], Payment(reference=uuid.uuid4().hex, amount_minor=100, user_id=user_id))
        headers = {name.lower(): value for name, value in delivery.headers.items()}
        accept(Generic([SECRET]), Request("POST", headers, delivery.body), inbox, lambda: None, limit)
    engine.dispose()
    school.execute("DELETE FROM outbox")
    return school


def handle(
    school: Database, before: int, event_ids: Sequence[int], failpoints: str
) -> "subprocess.CompletedProcess[str]":
    program = "tests.webhook_gateway.programs.settle_message"
    command = [sys.executable, "-m", program, school.url, SECRET, str(before), *map(str, event_ids)]
    environment = {**os.environ, "NOUBA_FAILPOINTS": failpoints}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def messages(school: Database) -> list[int]:
    """The events that have a message of their own, once for each."""
    alone = "SELECT (message->'kwargs'->>'event_id')::int FROM outbox WHERE message->>'actor_name' = %s ORDER BY 1"
    return [event_id for (event_id,) in school.rows(alone, "webhooks.received.v1")]


@pytest.mark.parametrize(("place", "action"), every(BATCHES, *ACTIONS))
def test_each_event_of_a_message_is_settled_once_whatever_happens_there(
    place: str, action: str, school: Database
) -> None:
    event_ids = [event_id for (event_id,) in school.rows("SELECT id FROM webhook_events ORDER BY id")]
    # one that was delivered before is split; and a batch has to fail for its events to be settled alone
    before = 1 if place.startswith("split") else 0
    failing = "settlement.before_commit=raise*1;" if place == "batch.before_alone" else ""

    broken = handle(school, before, event_ids, f"{failing}{place}={action}")
    assert f"failpoint {place}: " in broken.stderr
    assert broken.returncode == (-signal.SIGKILL if action == KILL else 0), broken.stderr
    if action == KILL:
        assert messages(school) == (event_ids if place == "split.after_commit" else [])
        assert school.rows("SELECT count(*) FROM ledger_transactions") == [(0,)]
        # another worker gets the message, and splits it
        settle_message.main(school.url, SECRET, before + 1, event_ids)
        assert set(messages(school)) == set(event_ids)
    for event_id in messages(school):
        settle_message.main(school.url, SECRET, 0, [event_id])

    assert school.rows("SELECT state, count(*) FROM webhook_events GROUP BY state") == [("applied", 3)]
    assert school.rows("SELECT balance_minor FROM users") == [(100,), (100,), (100,)]
    assert school.rows("SELECT count(*) FROM ledger_transactions") == [(3,)]
