"""A dramatiq broker that loses nothing: quorum queues, acknowledgements on their own channel, retries never dropped.

It overrides private hooks of dramatiq 2.2, which is therefore pinned; tests/messaging/test_broker.py tests each.
"""
# mypy: disallow-untyped-calls=False

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import dramatiq
import pika
from dramatiq.brokers.rabbitmq import RabbitmqBroker, _RabbitmqConsumer
from dramatiq.errors import ConnectionClosed
from dramatiq.middleware import CurrentMessage, Middleware, Retries, ShutdownNotifications, TimeLimit
from pika.exceptions import AMQPChannelError, AMQPConnectionError

from shared.messaging import pika_header_patch
from shared.messaging.envelope_validation import fault_of
from shared.messaging.topology import Declaration, declarations
from shared.runtime.logs import BindMessage, describe
from shared.runtime.metrics import MessageMetrics

#: dramatiq tries to publish six times: a worker waits at most six times as long while RabbitMQ is short of memory.
BLOCKED_TIMEOUT_SECONDS = 2
#: A job that has not killed its worker by then keeps no other waiting.
CAUTION_SECONDS = 2.0

pika_header_patch.install()


def build_broker(rabbitmq_url: str) -> "QuorumBroker":
    """The broker of one worker process; make it after the fork. The actors are made with `actors.actor`."""
    return QuorumBroker(rabbitmq_url, middleware=_middleware())


def connection_parameters(rabbitmq_url: str, *, heartbeat_seconds: int) -> pika.URLParameters:
    """Whom to connect to, with every wait bounded: pika's own defaults wait for ever on a blocked connection."""
    parameters = pika.URLParameters(rabbitmq_url)
    parameters.heartbeat = heartbeat_seconds
    parameters.socket_timeout = 3
    parameters.stack_timeout = 5
    parameters.connection_attempts = 1
    return parameters


class QuorumBroker(RabbitmqBroker):
    """Declares what `topology` says, confirms every publication, and keeps error texts out of the queues."""

    def __init__(self, rabbitmq_url: str, *, middleware: list[Middleware]) -> None:
        super().__init__(url=rabbitmq_url, confirm_delivery=True, middleware=middleware)
        parameters = connection_parameters(rabbitmq_url, heartbeat_seconds=30)
        parameters.blocked_connection_timeout = BLOCKED_TIMEOUT_SECONDS
        self.parameters = parameters
        #: Queues of which nothing new is taken, see `queues.pauses`.
        self.resting: frozenset[str] = frozenset()
        #: A worker holds messages that no thread has begun, and takes one at a time first, see `Consumer`.
        self.holds_messages = False

    @property
    def consumer_class(self) -> type["Consumer"]:
        return Consumer

    def enqueue(self, message: dramatiq.Message[Any], *, delay: int | None = None) -> dramatiq.Message[Any]:
        # A traceback may quote a row of the database; `error` (see Retrying) says what an operator needs.
        message.options.pop("traceback", None)
        if delay is None:
            message.options["enqueued_at_ms"] = int(time.time() * 1000)
        return super().enqueue(message, delay=delay)

    def _declare_queue(self, queue_name: str) -> Any:
        return self._declare(declarations(queue_name)[0])

    def _declare_dq_queue(self, queue_name: str) -> Any:
        return self._declare(declarations(queue_name)[1])

    def _declare_xq_queue(self, queue_name: str) -> Any:
        return self._declare(declarations(queue_name)[2])

    def _declare(self, declaration: Declaration) -> Any:
        return self.channel.queue_declare(queue=declaration.name, durable=True, arguments=dict(declaration.arguments))


class Consumer(_RabbitmqConsumer):
    """Acknowledges only what it delivered itself, and knows how often the server delivered a message before.

    Delivery tags start at 1 again on every channel. After a reconnection dramatiq would acknowledge, in the name of a
    job that ran on through it, whichever message now bears the same tag: that one would be lost.

    RabbitMQ counts a delivery for every message that a dead process held, begun or not, and gives up those that reach
    the limit. So a worker that holds messages beforehand takes one at a time at first, until it has finished one that
    was never delivered before, or works on one for long: what kills it again and again is counted alone.
    """

    def __init__(self, broker: QuorumBroker, queue_name: str, prefetch: int, timeout: int) -> None:
        self._prefetch = prefetch
        # a delayed message counts no deliveries
        self._is_cautious = broker.holds_messages and not queue_name.endswith(".DQ")
        self._is_fresh = False
        self._finished_a_fresh_one = False
        self._delivered_at = 0.0
        super().__init__(broker, queue_name, 1 if self._is_cautious else prefetch, timeout)
        self._headers: dict[str, Any] = {}
        self._done: deque[int] = deque()
        self._is_called = False
        self._idle_seconds = timeout / 1000
        self._rests = False
        self.iterator = self._noting_headers(self.iterator)

    def _noting_headers(self, iterator: Iterator[Any]) -> Iterator[Any]:
        for method, properties, body in iterator:
            if method is not None:
                self._headers = (properties and properties.headers) or {}
                # in hand until the server is answered, even one that cannot be read; only the connection's thread knows
                self.known_tags.add(method.delivery_tag)
            yield method, properties, body

    def __next__(self) -> Any:
        if self.queue_name in self.broker.resting:
            return self._rest()
        self._rests = False
        if self._is_cautious and self._may_take_more():
            self._take_more()
        message = super().__next__()
        if message is not None:
            if fault := fault_of(message, self.queue_name):
                self.logger.error("A message is malformed: %s. Moving it to the DLQ.", fault)
                self._nack(message._tag)
                return None
            message.delivered_by = self
            count = self._headers.get("x-delivery-count", 0)
            message.delivery_count = count if isinstance(count, int) else 0
            self._is_fresh = not message.delivery_count
            self._delivered_at = time.monotonic()
        return message

    def _may_take_more(self) -> bool:
        if self.known_tags and time.monotonic() - self._delivered_at > CAUTION_SECONDS:
            return True
        return self._finished_a_fresh_one and (self._is_fresh or not self.known_tags)

    def _take_more(self) -> None:
        try:
            self._consume_anew(self._prefetch)
        except (AMQPConnectionError, AMQPChannelError) as error:
            raise ConnectionClosed(error) from None
        self._is_cautious = False

    def _consume_anew(self, prefetch: int | None = None) -> None:
        self.channel.cancel()
        if prefetch is not None:
            self.channel.basic_qos(prefetch_count=prefetch)
        # a generator: it consumes again when it is next asked
        iterator = self.channel.consume(self.queue_name, inactivity_timeout=self._idle_seconds)
        self.iterator = self._noting_headers(iterator)

    def _rest(self) -> None:
        """Take nothing, and stay: the connection lives, and what is in hand can still be acknowledged."""
        try:
            if not self._rests:
                self._consume_anew()
            self._rests = True
            self.connection.process_data_events(time_limit=self._idle_seconds)
        except (AMQPConnectionError, AMQPChannelError) as error:
            raise ConnectionClosed(error) from None

    def ack(self, message: Any) -> None:
        """Acknowledge it with all that are done by the time the connection's own thread gets to it."""
        if message.delivered_by is self:
            self._done.append(message._tag)
            if not self._is_called:
                self._is_called = True
                self._call(self._acknowledge)

    def nack(self, message: Any) -> None:
        if message.delivered_by is self:
            self._nack(message._tag)

    def _nack(self, tag: int) -> None:
        self._call(partial(self._reject, tag))

    def _call(self, settle: Callable[[], None]) -> None:
        """Have the connection's thread do it, which is woken for that."""
        try:
            self.connection.add_callback_threadsafe(settle)
        except AMQPConnectionError as error:
            raise ConnectionClosed(error) from None

    def _acknowledge(self) -> None:
        # first: what comes after this line is either seen below, or calls again
        self._is_called = False
        done = [self._done.popleft() for _ in range(len(self._done))]
        self.known_tags.difference_update(done)
        self._finished_a_fresh_one = self._finished_a_fresh_one or (bool(done) and self._is_fresh)
        # everything before the first that is still in hand is settled, so one frame says it of all of them
        first_in_hand = min(self.known_tags, default=math.inf)
        together = [tag for tag in done if tag < first_in_hand]
        if together:
            self.channel.basic_ack(max(together), multiple=True)
        for tag in done:
            if tag > first_in_hand:
                self.channel.basic_ack(tag)

    def _reject(self, tag: int) -> None:
        self.known_tags.discard(tag)
        self._finished_a_fresh_one = self._finished_a_fresh_one or self._is_fresh
        self.channel.basic_nack(tag, requeue=False)


class Retrying(Retries):
    """Publishes a retry or, where it cannot, has the server move the message to the dead-letter queue.

    dramatiq swallows what a middleware raises and then acknowledges the message: the retry would be lost.
    """

    def after_process_message(
        self,
        broker: dramatiq.Broker,
        message: Any,
        *,
        result: object = None,
        exception: BaseException | None = None,
    ) -> None:
        if exception is not None:
            message.options["error"] = describe(exception)
        try:
            super().after_process_message(broker, message, result=result, exception=exception)
        except BaseException:
            message.fail()
            raise


def _middleware() -> list[Middleware]:
    # The hooks after a job run from the bottom up. So the time limit and the shutdown notice are off before a retry is
    # published (they would strike in the middle of it), and the metrics see what became of the message.
    return [
        MessageMetrics(),
        BindMessage(),
        CurrentMessage(),
        # `handles` writes all four at the actor; these are for an actor made without it: dead at the first error.
        Retrying(max_retries=0, min_backoff=1000, max_backoff=60_000),
        TimeLimit(time_limit=60_000),
        ShutdownNotifications(),
    ]
