"""A worker that is killed, fails or is slow at any step of a settlement books the event once, and wholly."""

import os
import signal
import subprocess
import sys
import uuid

import pytest

from local.psp.signed_webhooks import Payment, signed
from services.webhook_gateway.http.unverified_rate_limit import UnverifiedRateLimit
from services.webhook_gateway.inbox.accept import accept
from services.webhook_gateway.inbox.postgres import PostgresInbox
from services.webhook_gateway.providers.base import Request
from services.webhook_gateway.providers.generic import Generic
from shared.runtime.database import build_engine
from tests.failpoint_places import ACTIONS, KILL, SETTLEMENT, every
from tests.webhook_gateway.processes import Database
from tests.webhook_gateway.programs import settle as settle_program

SECRET = "secret-of-the-failpoints"


@pytest.fixture
def school(database_url: str) -> Database:
    """One user, who wants two subscriptions."""
    school = Database(database_url)
    school.execute("INSERT INTO users (id) VALUES (1)")
    school.execute("INSERT INTO subscriptions (user_id, amount_minor) VALUES (1, 70000), (1, 20000)")
    return school


def keep_paid(school: Database) -> int:
    """A paid webhook as the gateway keeps it; the event's id."""
    delivery = signed("generic", [SECRET], Payment(reference=uuid.uuid4().hex, amount_minor=100_000, user_id=1))
    headers = {name.lower(): value for name, value in delivery.headers.items()}
    engine = build_engine(school.url, autocommit=True)
    inbox, limit = PostgresInbox(engine), UnverifiedRateLimit(10, 10)
    receipt = accept(Generic([SECRET]), Request("POST", headers, delivery.body), inbox, lambda: None, limit)
    engine.dispose()
    assert receipt.event_id is not None
    return receipt.event_id


def settle(school: Database, event_id: int, failpoints: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tests.webhook_gateway.programs.settle", school.url, SECRET, str(event_id)]
    environment = {**os.environ, "NOUBA_FAILPOINTS": failpoints}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(("place", "action"), every(SETTLEMENT, *ACTIONS))
def test_an_event_is_booked_once_and_wholly_whatever_happens_there(place: str, action: str, school: Database) -> None:
    event_id = keep_paid(school)

    broken = settle(school, event_id, f"{place}={action}")
    assert f"failpoint {place}: " in broken.stderr
    assert broken.returncode == (-signal.SIGKILL if action == KILL else 0), broken.stderr
    if action == KILL and place != "settlement.after_commit":
        half_done = "SELECT count(*) FROM ledger_transactions UNION ALL SELECT count(*) FROM payments"
        assert school.rows(half_done) == [(0,), (0,)]
    # another worker gets its message
    settle_program.main(school.url, SECRET, str(event_id))

    assert school.rows("SELECT state FROM webhook_events") == [("applied",)]
    assert school.rows("SELECT balance_minor FROM users") == [(10_000,)]
    assert school.rows("SELECT count(*) FROM subscriptions WHERE status = 'active'") == [(2,)]
    assert school.rows("SELECT kind, count(*) FROM ledger_transactions GROUP BY kind ORDER BY kind") == [
        ("activation", 2),
        ("payment", 1),
    ]
    reported = "SELECT count(*) FROM outbox WHERE message->>'actor_name' = 'payments.settled.v1'"
    assert school.rows(reported) == [(1,)]
