"""The payments worker's actors: one message of many events, and what is done with one that comes again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import dramatiq
from dramatiq.middleware import CurrentMessage

from services.webhook_gateway.settlement.settlement_store import SettlementResult
from services.webhook_gateway.worker import declare
from shared.contracts.message import Message
from shared.contracts.webhooks import EventState, WebhookReceived, WebhooksReceived
from shared.messaging.actors import encode_message
from shared.messaging.broker import build_broker
from tests.webhook_gateway.processes import NO_RABBITMQ


@dataclass
class RecordingSettlement:
    """In place of `BatchedSettlement`."""

    settled: list[list[int]] = field(default_factory=list)
    alone: list[int] = field(default_factory=list)
    woken: list[str] = field(default_factory=list)

    def settle(self, event_ids: Sequence[int]) -> Mapping[int, SettlementResult]:
        self.settled.append(list(event_ids))
        return {event_id: SettlementResult(EventState.APPLIED, "") for event_id in event_ids}


def deliver(message: Message, deliveries_before: int = 0) -> RecordingSettlement:
    """What the worker does with `message`."""
    recorded, broker = RecordingSettlement(), build_broker(NO_RABBITMQ)
    declare(broker, recorded, recorded.alone.extend, recorded.woken.append)  # type: ignore[arg-type]
    delivered = dramatiq.MessageProxy(dramatiq.Message(**{**encode_message(message), "args": ()}))
    delivered.delivery_count = deliveries_before  # type: ignore[attr-defined]  # as the broker's consumer does
    current = CurrentMessage()
    current.before_process_message(broker, delivered)  # type: ignore[no-untyped-call]
    try:
        broker.get_actor(delivered.actor_name)(**delivered.kwargs)
    finally:
        current.after_process_message(broker, delivered)  # type: ignore[no-untyped-call]
    return recorded


def test_events_of_one_message_are_settled_together() -> None:
    recorded = deliver(WebhooksReceived(event_ids=(4, 5, 6)))
    assert (recorded.settled, recorded.alone, recorded.woken) == ([[4, 5, 6]], [], ["default"])


def test_events_whose_message_comes_again_are_enqueued_each_alone() -> None:
    """One of them may have killed the worker: none of the others is tried with it."""
    recorded = deliver(WebhooksReceived(event_ids=(4, 5, 6)), deliveries_before=1)
    assert (recorded.settled, recorded.alone, recorded.woken) == ([], [4, 5, 6], ["webhooks"])


def test_an_event_that_comes_again_alone_is_settled() -> None:
    recorded = deliver(WebhooksReceived(event_ids=(4,)), deliveries_before=3)
    assert (recorded.settled, recorded.alone) == ([[4]], [])


def test_an_event_that_was_kept_alone_is_settled() -> None:
    assert deliver(WebhookReceived(event_id=4)).settled == [[4]]
