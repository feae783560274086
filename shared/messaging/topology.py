"""The arguments of every queue, in one place, so that every declaration is the same.

RabbitMQ refuses a second declaration that differs in any argument (406 PRECONDITION_FAILED), so the worker's broker
and the relay's publisher both take it from here. What an operator may want to tune belongs in a policy, not here.
"""

from collections.abc import Mapping
from dataclasses import dataclass

#: Where events are published for programs that read RabbitMQ; the routing key is the event's type.
EVENTS_EXCHANGE = "nouba.events"

#: Deliveries after which the server itself gives a message up: it killed the worker each time (out of memory, a
#: crash in C). Above one, because a deploy that has to kill a worker counts as a delivery too.
DELIVERY_LIMIT = 5

#: How long RabbitMQ keeps a dead message that no collector has stored.
DEAD_MESSAGE_TTL_MS = 7 * 24 * 60 * 60 * 1000


@dataclass(frozen=True, slots=True)
class Declaration:
    """One durable queue at the server."""

    name: str
    arguments: Mapping[str, str | int]


def declarations(queue: str) -> list[Declaration]:
    """What is declared for `queue`: itself, its delayed messages and its dead ones, in this order."""
    dead = dead_queue(queue)
    to_dead = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead}
    return [
        # Quorum: only it counts deliveries, so only here a message that kills its worker comes to an end.
        Declaration(queue, {**to_dead, "x-queue-type": "quorum", "x-delivery-limit": DELIVERY_LIMIT}),
        # Classic: a worker holds delayed messages unacknowledged by design, and no deploy may count against them.
        # (RabbitMQ 4 would put its own limit of 20 on a quorum queue, and 3.10 takes "unlimited" for "none at all".)
        Declaration(delayed_queue(queue), to_dead),
        # RabbitMQ 4 would drop a dead message that came back twenty times. The policy in definitions.json lifts that
        # limit, since a queue that exists already can be given no other argument.
        Declaration(dead, {"x-queue-type": "quorum", "x-message-ttl": DEAD_MESSAGE_TTL_MS}),
    ]


def delayed_queue(queue: str) -> str:
    """Where dramatiq keeps the retries of `queue` until they are due."""
    return f"{queue}.DQ"


def dead_queue(queue: str) -> str:
    """Where the messages of `queue` end that nobody could handle."""
    return f"{queue}.XQ"
