"""The payments worker's actors: one message of many events, and what is done with one that comes again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from services.webhook_gateway.settlement.settlement_store import SettlementResult
from shared.contracts.message import Message
from shared.contracts.webhooks import EventState, WebhookReceived, WebhooksReceived
from tests.webhook_gateway import deliveries


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
    recorded = RecordingSettlement()
    deliveries.deliver(
        message,
        recorded,  # type: ignore[arg-type]
        recorded.alone.extend,
        recorded.woken.append,
        deliveries_before,
    )
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
