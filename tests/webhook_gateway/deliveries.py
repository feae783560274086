"""Gives a message to the payments worker's actors as its broker does, without RabbitMQ."""

from collections.abc import Callable, Sequence

import dramatiq
from dramatiq.middleware import CurrentMessage

from services.webhook_gateway.settlement.batched import BatchedSettlement
from services.webhook_gateway.worker import declare
from shared.contracts.message import Message
from shared.messaging.actors import encode_message
from shared.messaging.broker import build_broker
from tests.webhook_gateway.processes import NO_RABBITMQ


def deliver(
    message: Message,
    settlement: BatchedSettlement,
    enqueue_alone: Callable[[Sequence[int]], None],
    wake: Callable[[str], None],
    deliveries_before: int = 0,
) -> None:
    """Have the worker's actor handle `message`, which was delivered so often before."""
    broker = build_broker(NO_RABBITMQ)
    declare(broker, settlement, enqueue_alone, wake)
    delivered = dramatiq.MessageProxy(dramatiq.Message(**{**encode_message(message), "args": ()}))
    delivered.delivery_count = deliveries_before  # type: ignore[attr-defined]  # as the broker's consumer does
    current = CurrentMessage()
    current.before_process_message(broker, delivered)  # type: ignore[no-untyped-call]
    try:
        broker.get_actor(delivered.actor_name)(**delivered.kwargs)
    finally:
        current.after_process_message(broker, delivered)  # type: ignore[no-untyped-call]
