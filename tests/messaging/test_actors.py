"""The envelope is dramatiq's own, and a handler is made with limits that are safe."""

import json

import dramatiq
import pytest
from dramatiq.brokers.stub import StubBroker

from shared.contracts.message import ContractError
from shared.contracts.payments import PaymentSettled
from shared.contracts.webhooks import WebhookReceived
from shared.messaging.actors import MAX_BACKOFF_MS, actor, encode_message


def test_dramatiq_reads_the_envelope_and_would_write_the_same() -> None:
    written = encode_message(WebhookReceived(event_id=7), message_id="abc")
    read = dramatiq.Message.decode(json.dumps(written).encode())
    assert (read.queue_name, read.actor_name, read.kwargs) == ("webhooks", "webhooks.received.v1", {"event_id": 7})
    assert read.message_id == "abc"
    assert json.loads(read.encode()) == written


def test_every_envelope_has_an_id_of_its_own() -> None:
    first, second = (encode_message(WebhookReceived(event_id=7))["message_id"] for _ in range(2))
    assert first != second


def test_a_date_travels_as_text() -> None:
    settled = PaymentSettled.load({"payment_id": 1, "day": "2026-03-01"})
    assert json.loads(json.dumps(encode_message(settled)))["kwargs"]["day"] == "2026-03-01"


def test_the_handler_gets_the_message_and_stays_a_plain_function() -> None:
    broker = StubBroker()
    seen: list[object] = []

    @actor(broker, WebhookReceived, max_retries=0, min_backoff_ms=1, max_backoff_ms=1, time_limit_ms=1000)
    def settle(message: WebhookReceived) -> None:
        seen.append(message)

    broker.get_actor("webhooks.received.v1")(event_id=3, added_by_a_newer_sender=True)
    settle(WebhookReceived(event_id=4))
    assert seen == [WebhookReceived(event_id=3), WebhookReceived(event_id=4)]


def test_positional_fields_break_the_contract() -> None:
    broker = StubBroker()
    actor(broker, WebhookReceived, max_retries=0, min_backoff_ms=1, max_backoff_ms=1, time_limit_ms=1000)(print)
    with pytest.raises(ContractError, match="by name only"):
        broker.get_actor("webhooks.received.v1")(3)


def test_a_back_off_that_rabbitmq_would_cut_short_is_refused() -> None:
    with pytest.raises(ValueError, match="keep a row with a due time"):
        actor(
            StubBroker(),
            WebhookReceived,
            max_retries=1,
            min_backoff_ms=1,
            max_backoff_ms=MAX_BACKOFF_MS + 1,
            time_limit_ms=1000,
        )
