"""A payment that settlement books reaches an endpoint as a signed event."""

import json
from contextlib import closing
from pathlib import Path

import httpx
import jsonschema_rs
import pika
import pytest

from shared.contracts.event_types import EVENTS, schema_of
from tests.waiting import wait_until
from tests.webhook_gateway.events_out.processes import RunningEvents, add, record, states
from tests.webhook_gateway.events_out.receivers import Receiver
from tests.webhook_gateway.processes import Database, RunningGateway, RunningWorker, deliver, paid

TYPES = {event.name: event for event in EVENTS}


@pytest.fixture
def pupil(database: Database) -> int:
    query = "INSERT INTO users (name, email, role) VALUES ('Amel', 'amel@school.example', 'student') RETURNING id"
    database.execute(query)
    ((number,),) = database.rows("SELECT id FROM users")
    return int(number)


def test_a_settled_payment_is_posted_signed(
    database: Database, rabbitmq_url: str, worker: RunningEvents, pupil: int, tmp_path: Path
) -> None:
    with (
        Receiver.listening() as school,
        RunningGateway(tmp_path / "gateway.log", database.url, rabbitmq_url) as gateway,
        RunningWorker(tmp_path / "payments.log", database.url, rabbitmq_url),
    ):
        # Given an endpoint for every event, and a subscription that waits for its payment
        _, secret = add(database, school.url)
        database.execute("INSERT INTO chapters (id, title, price_minor) VALUES (1, 'Limits', 200000)")
        pending = "INSERT INTO subscriptions (id, user_id, chapter_id, amount_minor) VALUES (5, %s, 1, 200000)"
        database.execute(pending, pupil)

        # When a provider reports that a payment is paid
        with httpx.Client(base_url=gateway.url) as client:
            assert deliver(client, paid(user_id=pupil)).status_code == 200

        # Then the endpoint gets what came of it, and the signatures satisfy the specification's library
        wait_until(lambda: states(database) == {"delivered": 3}, 20, "the events were not delivered")
        for one in school.received:
            one.verify(secret)
            jsonschema_rs.validate(schema_of(TYPES[one.event["type"]]), one.event)
        found = {one.event["type"]: one.event["data"] for one in school.received}
        assert found["subscription.activated"]["subscription_id"] == 5
        assert found["wallet.changed"] == {"user_id": pupil, "balance_minor": 50_000}
        (received,) = school.of_type("payment.completed")
        assert received.headers["webhook-id"] == received.event["id"]
        data = received.event["data"]
        assert (data["user_id"], data["status"], data["amount_minor"]) == (pupil, "completed", 250_000)
        assert "amel" not in received.body.decode().lower()


def test_a_program_that_reads_rabbitmq_gets_the_same(
    database: Database, rabbitmq_url: str, worker: RunningEvents
) -> None:
    # Given a queue that is bound to the exchange for lessons
    with (
        closing(pika.BlockingConnection(pika.URLParameters(rabbitmq_url))) as connection,
        Receiver.listening() as school,
    ):
        channel = connection.channel()
        channel.exchange_declare("nouba.events", "topic", durable=True)
        channel.queue_declare("school")
        channel.queue_bind("school", "nouba.events", "lesson.*")
        add(database, school.url, "lesson.ready")

        # When events come
        record(database, 1)
        (event_id,) = record(database, 7, kind="lesson.ready")

        # Then the queue has the lesson's, and its bytes are the endpoint's
        wait_until(lambda: len(school.received) == 1, 10, "the endpoint got nothing")
        found = wait_until(lambda: channel.basic_get("school", auto_ack=True)[2], 10, "the queue is empty")
        assert json.loads(found) == school.received[0].event
        assert found == school.received[0].body
        assert json.loads(found)["id"] == event_id
