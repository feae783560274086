"""Canaries in all that a sender controls, and in the secrets: the inbox holds the body, and nothing else does."""

import base64
import json
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pika

from local.postgres import Postgres
from local.psp.signed_webhooks import Delivery, Payment, sign, signed
from local.rabbitmq import RabbitMq
from tests.waiting import wait_until
from tests.webhook_gateway.processes import Database, RunningGateway, RunningWorker

#: Stands in every planted value, so that one search finds them all, whatever was cut off or quoted.
CANARY = "canarybird"
SECRET = "secretbird"
SECRETS = {
    "chargily": f"test_sk_{SECRET}-1",
    "standard_webhooks": "whsec_" + base64.b64encode(f"{SECRET}-2-------------------".encode()).decode(),
    "stripe": f"whsec_{SECRET}-3",
    "generic": f"{SECRET}-4",
}
SETTINGS = {
    **{f"NOUBA_PSP_{name.upper()}_SECRETS": secret for name, secret in SECRETS.items()},
    "NOUBA_PAYMENTS_MODE": "test",
    "NOUBA_PSP_SATIM_PASSWORD": f"{SECRET}-5",
    # nobody there: the bank's status call fails
    "NOUBA_PSP_SATIM_BASE_URL": "http://127.0.0.1:1/payment/rest",
    # every second settlement fails in the middle of it, the first time
    "NOUBA_FAILPOINTS": "settlement.after_payment=raise*2",
    # with all that an exception can say
    "NOUBA_LOG_FORMAT": "json",
}
#: Headers of a sender's own, known and unknown.
PLANTED = {
    "User-Agent": f"{CANARY}-agent",
    "X-Unknown": f"{CANARY}-header",
    "Authorization": f"Bearer {CANARY}-token",
    "Cookie": f"session={CANARY}",
    "X-Forwarded-For": f"{CANARY}-address",
    "Referer": f"http://{CANARY}.example/",
}


def news(provider: str, name: str, what: str = "paid", user_id: int | None = 7) -> Delivery:
    """A genuine request whose every free field holds a canary."""
    payment = Payment(
        reference=f"pi_{CANARY}-{name}", amount_minor=250_000, user_id=user_id, order_number=f"{CANARY}-order-{name}"
    )
    delivery = signed(provider, [SECRETS[provider]], payment, what)
    body = json.loads(delivery.body)
    body["customer"] = {"email": f"{CANARY}@school.example", "card": f"{CANARY}-4111"}
    return with_body(delivery, json.dumps(body).encode())


def with_body(delivery: Delivery, body: bytes) -> Delivery:
    headers = sign(delivery.provider, SECRETS[delivery.provider], body, datetime.now(UTC))
    return replace(delivery, body=body, headers={**headers, **PLANTED})


def nonsense(gateway: RunningGateway) -> None:
    """What is not HTTP, with canaries in the parts that a server likes to quote."""
    for sent in (
        f"{CANARY}\r\n\r\n",
        f"POST /{CANARY}?{CANARY} HTTP/1.1\r\n{CANARY}\r\n\r\n",
        f"{CANARY.upper()} /docs?{CANARY} HTTP/1.1\r\nHost: {CANARY}\r\n\r\n",
        f"POST /webhooks/generic?{CANARY} HTTP/1.1\r\nHost: a\r\nExpect: {CANARY}\r\n\r\n",
        f"POST /webhooks/generic HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {CANARY}\r\n\r\n",
        f"POST /webhooks/generic HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{CANARY}\r\n\r\n",
        f"GET /healthz HTTP/1.1\r\nHost: a\r\nX-{CANARY}({CANARY}): {CANARY}\r\n\r\n",
    ):
        with gateway.connect() as connection:
            connection.sendall(sent.encode())
            assert connection.recv(1000)


def queued(server: RabbitMq, url: str) -> str:
    """All messages of all queues, `.DQ` and `.XQ` too; they stay where they are."""
    host = urlsplit(url).path.removeprefix("/")
    names = [queue["name"] for queue in httpx.get(f"{server.management_url}/api/queues/{host}").json()]
    wanted = {"count": 1000, "ackmode": "ack_requeue_true", "encoding": "auto"}
    return "".join(
        httpx.post(f"{server.management_url}/api/queues/{host}/{name}/get", json=wanted).raise_for_status().text
        for name in names
    )


def test_no_canary_and_no_secret_leaves_the_inbox(
    own_postgres: Postgres, rabbitmq_server: RabbitMq, rabbitmq_url: str, tmp_path: Path
) -> None:
    database = Database(own_postgres.url)
    database.execute("INSERT INTO users (id, name) VALUES (7, '')")
    # the outbox is empty a moment later, so what ever stood in it is written down
    database.execute("CREATE TABLE enqueued (message jsonb)")
    database.execute(
        "CREATE FUNCTION remember() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN INSERT INTO enqueued VALUES (NEW.message); RETURN NULL; END'"
    )
    database.execute("CREATE TRIGGER remember AFTER INSERT ON outbox FOR EACH ROW EXECUTE FUNCTION remember()")
    seen: list[str] = []

    with ExitStack() as running:
        gateway = RunningGateway(tmp_path / "gateway", own_postgres.url, rabbitmq_url, **SETTINGS)
        running.enter_context(gateway)
        with httpx.Client(base_url=gateway.url, headers=PLANTED) as client:

            def send(delivery: Delivery) -> str:
                path = f"{delivery.path}{'&' if '?' in delivery.path else '?'}extra={CANARY}"
                answer = client.request(
                    delivery.method, path, headers=dict(delivery.headers), content=delivery.body or None
                )
                return str(answer.json().get("status", answer.json().get("error")))

            # Given every kind of request
            genuine = {provider: news(provider, "accepted") for provider in SECRETS}
            assert {send(delivery) for delivery in genuine.values()} == {"accepted"}
            first = genuine["generic"]
            assert send(first) == "duplicate"
            assert send(with_body(first, first.body.replace(b"250000", b"990000"))) == "quarantined"
            assert send(with_body(first, f"{{{CANARY}".encode())) == "quarantined"
            assert send(with_body(first, json.dumps({"status": CANARY}).encode())) == "quarantined"
            assert send(replace(first, body=first.body + b" ")) == "invalid_signature"
            forged = {**first.headers, "X-Signature": CANARY}
            assert send(replace(first, headers=forged)) == "invalid_signature"
            assert send(replace(first, path=f"/webhooks/{CANARY}")) == "unknown_provider"
            assert send(news("generic", "parked", user_id=None)) == "accepted"
            assert send(news("generic", "nobody", user_id=404)) == "accepted"
            assert send(news("stripe", "refund", "refunded")) == "accepted"
            hint = Payment(reference=f"{CANARY}-hint", amount_minor=100)
            assert client.get(signed("satim", [], hint).path).status_code == 303
            nonsense(gateway)

            # When it is published, and before anybody takes it
            wait_until(lambda: database.counts()["outbox"] == 0)
            seen.append(queued(rabbitmq_server, rabbitmq_url))
            assert "event_id" in seen[0]

            # And when it is settled, with failures, beside a message that breaks its contract
            worker = RunningWorker(tmp_path / "worker", own_postgres.url, rabbitmq_url, **SETTINGS)
            running.enter_context(worker)
            break_the_contract(rabbitmq_url)
            wait_until(lambda: "failpoint settlement.after_payment: raise" in worker.log)
            wait_until(lambda: "ContractError" in worker.log)
            wait_until(lambda: len(database.rows("SELECT 1 FROM webhook_events WHERE state = 'applied'")) >= 4)
            wait_until(
                lambda: not database.rows("SELECT 1 FROM webhook_events WHERE state = 'received' AND attempts = 0")
            )
            seen += [httpx.get(process.metrics_url).text for process in (gateway, worker)]

            # And when the database goes away
            enqueued = database.rows("SELECT message FROM enqueued")
            kept = database.events()
            own_postgres.kill()
            assert send(news("generic", "unavailable")) == "unavailable"
            wait_until(lambda: "away" in worker.log or "OperationalError" in worker.log)
            seen += [httpx.get(process.metrics_url).text for process in (gateway, worker)]
            worker.stop()
            gateway.stop()
        seen += [gateway.log, worker.log]
    seen.append(queued(rabbitmq_server, rabbitmq_url))
    seen.append(json.dumps(enqueued))

    # Then the inbox holds what was sent, byte by byte
    assert enqueued
    bodies = [body for *_, body in kept]
    assert all(delivery.body in bodies for delivery in genuine.values())

    # And nothing of it, and no secret, stands anywhere else
    for text in seen:
        for word in (CANARY, SECRET, base64.b64encode(SECRET.encode()).decode()[:12]):
            at = text.lower().find(word.lower())
            assert at < 0, text[max(0, at - 300) : at + 100]
        for url in (own_postgres.url, rabbitmq_url):
            assert (urlsplit(url).password or "-") not in text


def break_the_contract(rabbitmq_url: str) -> None:
    """A message of the right name with fields that are not the contract's."""
    message = {
        "queue_name": "webhooks",
        "actor_name": "webhooks.received.v1",
        "args": [],
        "kwargs": {"event_id": "not a number"},
        "options": {},
        "message_id": "broken",
        "message_timestamp": 0,
    }
    with pika.BlockingConnection(pika.URLParameters(rabbitmq_url)) as connection:
        properties = pika.BasicProperties(delivery_mode=2)
        connection.channel().basic_publish("", "webhooks", json.dumps(message).encode(), properties)
