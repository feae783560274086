"""Delivers the events that are due for one endpoint, batch by batch.

At least once: an attempt is recorded after it was made, so a worker that dies in between leaves the delivery leased,
and it is sent again when the lease is over. The receiver recognizes the repetition by `webhook-id`.
Fair: an endpoint has few batches under way, one while it fails, and none for a while after several failures in a row.
So an endpoint that is slow or down delays none but itself.
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Protocol

import structlog

from services.webhook_gateway.events_out.http_client import Answer
from services.webhook_gateway.events_out.metrics import DELAY_SECONDS, DELIVERIES, DISABLED, POST_SECONDS
from services.webhook_gateway.events_out.model import Attempt, Batch, Delivery, Endpoint, EndpointHealth
from services.webhook_gateway.events_out.schedule import hold, next_attempt
from shared.runtime.failpoints import failpoint
from shared.runtime.standard_webhooks_signing import signed_headers

#: Deliveries that are claimed and recorded at once.
BATCH: Final = 20
#: A batch ends after this and gives the rest back; with one more attempt it stays far below the lease.
BATCH_SECONDS: Final = 5.0
#: A message's work ends after this; what is left gets a new message.
ROUND_SECONDS: Final = 20.0
#: Batches of one endpoint at once in a process.
BATCHES_AT_ONCE: Final = 4
GONE: Final = 410

log = structlog.get_logger(__name__)


class DeliveryStore(Protocol):
    """Deliveries, as far as the use case needs them."""

    def claim(self, endpoint_id: int, limit: int) -> Batch | None:
        """Lease deliveries that are due, one where the endpoint fails; None where there is none."""
        ...

    def record(
        self, endpoint_id: int, attempts: Sequence[Attempt], unsent: Sequence[int], health: EndpointHealth | None
    ) -> None:
        """Write down what came of a batch, and give `unsent` back. Without `health` the endpoint stays as it is."""
        ...

    def enqueue(self, endpoint_ids: Sequence[int]) -> None:
        """Enqueue a message for each endpoint that has none under way."""
        ...


@dataclass(frozen=True, slots=True)
class DeliveryPolicy:
    """For how long deliveries are retried, and after what time of failures an endpoint is disabled."""

    give_up_after: timedelta
    disable_after: timedelta


class BatchLimit:
    """How many batches of each endpoint are under way in this process."""

    def __init__(self, at_once: int = BATCHES_AT_ONCE) -> None:
        self._at_once = at_once
        self._running: Counter[int] = Counter()
        self._wanted: set[int] = set()
        self._lock = threading.Lock()

    def enter(self, endpoint_id: int) -> bool:
        """Start a batch. False at the limit: then a running batch claims once more before it ends."""
        with self._lock:
            if self._running[endpoint_id] >= self._at_once:
                self._wanted.add(endpoint_id)
                return False
            self._running[endpoint_id] += 1
            return True

    def is_wanted(self, endpoint_id: int) -> bool:
        """Whether `enter` was refused since the last call."""
        with self._lock:
            found = endpoint_id in self._wanted
            self._wanted.discard(endpoint_id)
            return found

    def has_others(self, endpoint_id: int) -> bool:
        """Whether another batch of the endpoint is under way."""
        with self._lock:
            return self._running[endpoint_id] > 1

    def leave(self, endpoint_id: int) -> None:
        with self._lock:
            self._running[endpoint_id] -= 1
            if not self._running[endpoint_id]:
                del self._running[endpoint_id]


@dataclass(frozen=True, slots=True)
class EventDelivery:
    """The use case and its dependencies: `post` makes one attempt, `wake` starts the relay's next round."""

    store: DeliveryStore
    post: Callable[[str, Mapping[str, str], bytes], Answer]
    policy: DeliveryPolicy
    now: Callable[[], datetime]
    wake: Callable[[], None]
    batch_limit: BatchLimit = field(default_factory=BatchLimit)
    #: Set when the worker stops: the batch in hand ends with the attempt in hand.
    stopping: threading.Event = field(default_factory=threading.Event)

    def deliver(self, endpoint_id: int) -> None:
        """Deliver what is due for the endpoint."""
        if not self.batch_limit.enter(endpoint_id):
            return
        try:
            ends_at = time.monotonic() + ROUND_SECONDS
            while not self.stopping.is_set():
                batch = self.store.claim(endpoint_id, BATCH)
                if batch is not None:
                    if batch.endpoint.failures and self.batch_limit.has_others(endpoint_id):
                        # one at a time while it fails; the sweep enqueues it again where both give way
                        self.store.record(endpoint_id, [], [one.id for one in batch.deliveries], None)
                        return
                    self._deliver(batch)
                elif not self.batch_limit.is_wanted(endpoint_id):
                    return
                if time.monotonic() > ends_at:
                    break
            self.store.enqueue([endpoint_id])
            self.wake()
        finally:
            self.batch_limit.leave(endpoint_id)

    def _deliver(self, batch: Batch) -> None:
        failpoint("events.after_claim")
        ends_at = time.monotonic() + BATCH_SECONDS
        attempts: list[Attempt] = []
        health: EndpointHealth | None = None
        for delivery in batch.deliveries:
            answer = self._attempt(batch.endpoint, delivery)
            attempts.append(self._outcome(batch.endpoint, delivery, answer))
            if not answer.is_success:
                # the others wait for the endpoint's hold, and not each for a timeout
                health = self._failed(batch.endpoint, answer)
                break
            if batch.endpoint.failures:
                health = EndpointHealth(0, None, None)
            if time.monotonic() > ends_at or self.stopping.is_set():
                break
        failpoint("events.after_post")
        unsent = [delivery.id for delivery in batch.deliveries[len(attempts) :]]
        self.store.record(batch.endpoint.id, attempts, unsent, health)
        failpoint("events.after_record")

    def _attempt(self, endpoint: Endpoint, delivery: Delivery) -> Answer:
        body = json.dumps(delivery.envelope, ensure_ascii=False, separators=(",", ":")).encode()
        timestamp = int(self.now().timestamp())
        answer = self.post(endpoint.url, signed_headers(endpoint.secrets, delivery.message_id, timestamp, body), body)
        POST_SECONDS.observe(answer.milliseconds / 1000)
        return answer

    def _outcome(self, endpoint: Endpoint, delivery: Delivery, answer: Answer) -> Attempt:
        now = self.now()
        entry = {"at": now.isoformat(timespec="milliseconds"), "milliseconds": answer.milliseconds}
        entry |= {"status": answer.status} if answer.error is None else {"error": answer.error}
        if answer.is_success:
            DELIVERIES.labels("delivered").inc()
            if not delivery.attempts:
                DELAY_SECONDS.observe(max(0.0, (now - delivery.occurred_at).total_seconds()))
            return Attempt(delivery.id, "delivered", None, entry)
        due_at = next_attempt(delivery.attempts + 1, delivery.began_at, now, self.policy.give_up_after)
        DELIVERIES.labels("given_up" if due_at is None else "failed").inc()
        log.info(
            "event not delivered",
            endpoint_id=endpoint.id,
            event_id=delivery.event_id,
            status=answer.status,
            error=answer.error,
            attempt=delivery.attempts + 1,
        )
        return Attempt(delivery.id, "failed" if due_at is None else "pending", due_at, entry)

    def _failed(self, endpoint: Endpoint, answer: Answer) -> EndpointHealth:
        now = self.now()
        failures, since = endpoint.failures + 1, endpoint.failing_since or now
        reason = None
        if answer.status == GONE:
            reason = "gone"
        elif now - since >= self.policy.disable_after:
            reason = "failing"
        if reason is not None:
            DISABLED.labels(reason).inc()
            log.warning("endpoint disabled", endpoint_id=endpoint.id, reason=reason, failing_since=since.isoformat())
        held = hold(failures)
        return EndpointHealth(failures, since, now + held if held else None, reason)
