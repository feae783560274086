"""RabbitMQ as far as the code can know: confirms that are lost, messages that come again, a disk that forgets."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from shared.messaging.publisher import Outgoing
from tests.sim.scheduler import pause

#: Any of the first so many may be taken up: consumers have prefetched them.
PREFETCHED = 3


@dataclass(slots=True)
class Delivery:
    """A message in a queue; `count` is how often it was delivered before, `attempts` how often it failed."""

    message: dict[str, Any]
    count: int = 0
    attempts: int = 0


class SimulatedBroker:
    """Queues in memory. Faults are drawn from `chance` until `is_healthy`."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.is_healthy = False
        self.loss_rate = chance.choice((0.0, 0.0, 0.1))
        self.lost_confirm_rate = chance.choice((0.0, 0.1))
        self.waiting: dict[str, list[Delivery]] = {}
        self._in_hand: dict[str, Delivery] = {}
        self.lost: list[dict[str, Any]] = []

    def publish(self, messages: Sequence[Outgoing], timeout_seconds: float) -> set[int]:
        """As `Publisher.publish`: the indexes of those that were confirmed."""
        del timeout_seconds
        confirmed = set()
        for index, message in enumerate(messages):
            pause(f"publish to {message.queue}")
            if self._fails(self.lost_confirm_rate):
                if self._chance.random() < 0.5:
                    self._enter(message)
                continue
            if self._fails(self.loss_rate):
                # confirmed, and gone with the disk
                self.lost.append(json.loads(message.body))
            else:
                self._enter(message)
            confirmed.add(index)
        return confirmed

    def take(self, queue: str, consumer: str) -> Delivery:
        """One of the first messages, which stays `consumer`'s until it is acknowledged or given back."""
        found = self.waiting[queue]
        delivery = found.pop(self._chance.randrange(min(len(found), PREFETCHED)))
        self._in_hand[consumer] = delivery
        return delivery

    def acknowledge(self, consumer: str) -> None:
        del self._in_hand[consumer]

    def fail(self, consumer: str) -> None:
        """dramatiq enqueues it again, with one attempt more."""
        delivery = self._in_hand.pop(consumer)
        queue = delivery.message["queue_name"]
        self.waiting[queue].append(Delivery(delivery.message, attempts=delivery.attempts + 1))

    def give_back(self, consumer: str) -> None:
        """The consumer died: what it had in hand comes again, first of all."""
        if delivery := self._in_hand.pop(consumer, None):
            delivery.count += 1
            self.waiting[delivery.message["queue_name"]].insert(0, delivery)

    def has(self, queue: str) -> bool:
        return bool(self.waiting.get(queue))

    def _enter(self, message: Outgoing) -> None:
        self.waiting.setdefault(message.queue, []).append(Delivery(json.loads(message.body)))

    def _fails(self, rate: float) -> bool:
        return not self.is_healthy and self._chance.random() < rate
