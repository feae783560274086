"""The examples do what they show, against a running gateway and the simulated providers."""

import importlib.util
import json
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import httpx
import pytest
from standardwebhooks import Webhook

from tests.webhook_gateway.api.conftest import TOKEN_OF_ALL
from tests.webhook_gateway.processes import Database, RunningGateway
from tests.webhook_gateway.reconciliation.harness import Bench

EXAMPLES = Path(__file__).parents[3] / "examples"
SECRET = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


@pytest.fixture
def example(gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setenv("NOUBA_URL", gateway.url)
    monkeypatch.setenv("NOUBA_TOKEN", TOKEN_OF_ALL)
    monkeypatch.setenv("NOUBA_EVENTS_SECRET", SECRET)
    spec = importlib.util.spec_from_file_location("flask_example", EXAMPLES / "flask/app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_an_order_is_paid_and_the_school_sees_it(example: ModuleType, bench: Bench, database: Database) -> None:
    client = example.app.test_client()

    # When the payer goes to the provider, pays, and comes back
    sent = client.post("/orders/E1001/pay", base_url="http://127.0.0.1:3000")
    assert sent.status_code == 303, sent.text
    assert client.get("/orders/E1001").json == {"order_number": "E1001", "is_paid": False}
    httpx.post(f"{sent.headers['Location']}/paid").raise_for_status()
    database.execute("UPDATE payments SET next_ask_at = NULL WHERE order_number IS DISTINCT FROM 'E1001'")
    bench.make_due()
    bench.ask("chargily")
    bench.settle_all()

    # Then the order is paid
    assert client.get("/orders/E1001").json == {"order_number": "E1001", "is_paid": True}
    # and a refusal says what to do
    refused = client.get("/courses/7/lesson")
    assert refused.status_code == 409
    assert "no lesson yet" in refused.json["error"]


def test_a_signed_event_is_handled_once_and_a_forged_one_never(example: ModuleType) -> None:
    client = example.app.test_client()
    body = json.dumps({"type": "payment.completed", "data": {"payment_id": 1}})
    sent_at = datetime.now(UTC)
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(sent_at.timestamp())),
        "webhook-signature": Webhook(SECRET).sign("msg_1", sent_at, body),
    }

    answers = [client.post("/nouba-events", data=body, headers=headers).status_code for _ in range(2)]
    forged = client.post("/nouba-events", data=body.replace("1", "2"), headers=headers)

    assert (answers, forged.status_code) == ([204, 204], 401)
    assert example.handled == {"msg_1"}
