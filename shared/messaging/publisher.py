"""Publishes with many outstanding confirms; one confirm at a time is five to seven times slower.

A connection that is alive can be useless: a channel whose queue confirms nothing, or that refuses every message long
after the queue takes messages again. The publisher then opens a new connection, and says so in the log.

pika's blocking connection waits for every confirm, so this uses the event-driven one, in a thread of its own. All that
touches the connection runs in that thread; other threads hand it a batch and wait for the batch to be settled.
"""

import random
import threading
import time
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import pika
import structlog
from pika.adapters.select_connection import IOLoop, SelectConnection
from pika.exceptions import ChannelClosedByBroker, ConnectionClosedByClient

from shared.messaging.broker import connection_parameters
from shared.messaging.topology import EVENTS_EXCHANGE, declarations
from shared.runtime.logs import describe

#: Messages on their way without a confirm; more does not make it faster, and this bounds what a stalled server holds.
WINDOW = 1000
#: However slowly the confirms come, a batch ends after its timeout times this.
MAX_TIMEOUTS = 4
MIN_BACKOFF_SECONDS = 0.1
MAX_BACKOFF_SECONDS = 5.0
#: A dead server is noticed after about twice this.
HEARTBEAT_SECONDS = 10

log = structlog.get_logger(__name__)


class Outgoing(NamedTuple):
    """One message to publish: to its queue, or to the exchange of events with a routing key."""

    queue: str
    body: bytes
    message_id: str
    routing_key: str | None = None


class Publisher:
    """One connection to RabbitMQ that reconnects for ever. Make and start it after the fork."""

    def __init__(self, rabbitmq_url: str) -> None:
        self._parameters = connection_parameters(rabbitmq_url, heartbeat_seconds=HEARTBEAT_SECONDS)
        self._ioloop = IOLoop()
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        self._ready = threading.Event()
        self._stopping = False
        # From here on: only the publisher's own thread.
        self._connection: Any = None
        self._channel: Any = None
        self._blocked = False
        self._backoff_seconds = MIN_BACKOFF_SECONDS
        self._complaint: str | None = None
        self._declared: set[str] = set()
        #: Queues for which a connection was given up, until they confirm again.
        self._renewed_for: set[str] = set()
        self._batches: deque[_Batch] = deque()
        self._pending: dict[int, tuple[_Batch, int]] = {}
        self._last_tag = 0

    def publish(self, messages: Sequence[Outgoing], timeout_seconds: float) -> set[int]:
        """Publish persistently, and return the indexes of the messages that RabbitMQ has taken responsibility for.

        Returns when every message is settled, or the connection is lost, or RabbitMQ has answered nothing for
        `timeout_seconds`. A message without a confirm may have arrived all the same.
        """
        began = time.monotonic()
        if not messages or not self._ready.wait(timeout_seconds):
            return set()
        batch = _Batch(messages, began)
        self._ioloop.add_callback_threadsafe(lambda: self._enter(batch))
        latest = began + MAX_TIMEOUTS * timeout_seconds
        while not batch.settled.is_set():
            left_seconds = min(batch.answered_at + timeout_seconds, latest) - time.monotonic()
            if left_seconds <= 0:
                self._ioloop.add_callback_threadsafe(lambda: self._abandon(batch))
                break
            batch.settled.wait(left_seconds)
        batch.abandoned = True
        return batch.confirmed.copy()

    def wait_until_ready(self, timeout_seconds: float) -> bool:
        """Whether RabbitMQ takes messages now, waiting for it so long."""
        return self._ready.wait(timeout_seconds)

    def start(self) -> None:
        """Begin to connect; returns at once."""
        self._ioloop.add_callback_threadsafe(self._connect)
        self._thread.start()

    def stop(self, timeout_seconds: float = 2.0) -> None:
        """Close the connection and end the thread; what is not confirmed by then counts as not published."""
        if self._thread.is_alive():
            self._ioloop.add_callback_threadsafe(lambda: self._stop(timeout_seconds))
            self._thread.join(timeout_seconds + 1)

    # The thread, and the life of its connection.

    def _run(self) -> None:
        while not self._stopping:
            try:
                self._ioloop.start()
            except Exception as error:
                log.exception("publisher failed, starting its connection afresh")
                self._lost(self._connection, error)
        self._forget_connection()
        self._ioloop.close()

    def _connect(self) -> None:
        if not self._stopping:
            self._connection = _Connection(
                self._parameters,
                on_open_callback=self._opened,
                on_open_error_callback=self._lost,
                on_close_callback=self._lost,
                custom_ioloop=self._ioloop,
            )

    def _opened(self, connection: Any) -> None:
        connection.add_on_connection_blocked_callback(self._block)
        connection.add_on_connection_unblocked_callback(self._unblock)
        connection.channel(on_open_callback=self._channel_opened)

    def _channel_opened(self, channel: Any) -> None:
        self._channel = channel
        channel.add_on_close_callback(self._channel_closed)
        channel.add_on_return_callback(self._returned)
        # tags start at 1 again on every channel: an answer on another one would settle the wrong message
        channel.confirm_delivery(partial(self._answered, channel), callback=self._confirming)

    def _confirming(self, _frame: Any) -> None:
        if self._complaint:
            log.info("rabbitmq is back")
        self._complaint = None
        self._backoff_seconds = MIN_BACKOFF_SECONDS
        self._ready.set()

    def _renew(self, sentence: str, queue: str) -> None:
        """Replace a connection that is alive and useless. What it was sent counts as not confirmed."""
        connection = self._connection
        if queue not in self._renewed_for:
            log.warning(sentence, queue=queue)
        self._renewed_for.add(queue)
        self._forget_connection()
        if self._stopping:
            self._ioloop.stop()
        else:
            self._connect()
        # Not closed politely: a server that has stopped reading from it would never answer.
        connection._terminate_stream(ConnectionClosedByClient(200, "renewed"))

    def _channel_closed(self, channel: Any, reason: Exception) -> None:
        if isinstance(reason, ChannelClosedByBroker):
            # 406: a queue exists with other arguments. Nothing can be published before an operator has removed it.
            self._complain("rabbitmq closed the channel; where a queue exists with other arguments, delete it", reason)
        if channel.connection.is_open:
            channel.connection.close()

    def _lost(self, connection: Any, reason: BaseException) -> None:
        if connection is not self._connection:
            return
        self._forget_connection()
        if self._stopping:
            self._ioloop.stop()
            return
        self._complain("rabbitmq is away, trying again until it is back", reason)
        self._ioloop.call_later(self._backoff_seconds * random.uniform(0.5, 1), self._connect)  # noqa: S311
        self._backoff_seconds = min(MAX_BACKOFF_SECONDS, self._backoff_seconds * 2)

    def _forget_connection(self) -> None:
        self._ready.clear()
        self._connection = self._channel = None
        self._blocked = False
        self._last_tag = 0
        self._declared.clear()
        unsettled = {id(batch): batch for batch in (*self._batches, *(batch for batch, _ in self._pending.values()))}
        self._batches.clear()
        self._pending.clear()
        for batch in unsettled.values():
            batch.settled.set()

    def _stop(self, timeout_seconds: float) -> None:
        self._stopping = True
        # A server that reads nothing (memory alarm) never answers a close.
        self._ioloop.call_later(timeout_seconds, self._ioloop.stop)
        if self._connection is not None and self._connection.is_open:
            self._connection.close()
        elif self._connection is None:
            self._ioloop.stop()

    def _block(self, connection: Any, _frame: Any) -> None:
        if connection is not self._connection:
            return
        self._blocked = True
        self._ready.clear()
        self._complain("rabbitmq is short of memory or disk and takes no messages", None)

    def _unblock(self, connection: Any, _frame: Any) -> None:
        if connection is not self._connection:
            return
        self._blocked = False
        self._confirming(None)
        self._pump()

    def _complain(self, sentence: str, reason: BaseException | None) -> None:
        if self._complaint is None and not self._stopping:
            log.warning(sentence, **({"error": describe(reason)} if reason else {}))
        self._complaint = sentence

    # The messages.

    def _enter(self, batch: "_Batch") -> None:
        if self._channel is None:
            batch.settled.set()
            return
        self._batches.append(batch)
        self._pump()

    def _abandon(self, batch: "_Batch") -> None:
        """End a batch whose caller has gone: none of its tags may count against the window."""
        if batch.settled.is_set() or self._connection is None or self._blocked:
            # a server short of memory answers once it is fed
            return
        if any(one is batch for one, _ in self._pending.values()):
            sentence = "rabbitmq does not confirm what a queue was sent; opening a new connection"
            self._renew(sentence, batch.messages[0].queue)

    def _pump(self) -> None:
        while self._batches and not self._blocked and len(self._pending) < WINDOW:
            if self._channel is None or not self._channel.is_open:
                return
            batch = self._batches[0]
            if batch.abandoned or not batch.unsent:
                self._batches.popleft()
            else:
                self._send(batch, batch.unsent.popleft())

    def _send(self, batch: "_Batch", index: int) -> None:
        message = batch.messages[index]
        if message.queue not in self._declared:
            if message.routing_key is not None:
                self._channel.exchange_declare(EVENTS_EXCHANGE, "topic", durable=True)
            for declaration in () if message.routing_key is not None else declarations(message.queue):
                # Without a callback pika asks for no answer: the server works through all this in order.
                self._channel.queue_declare(declaration.name, durable=True, arguments=dict(declaration.arguments))
            self._declared.add(message.queue)
        self._last_tag += 1
        self._pending[self._last_tag] = (batch, index)
        properties = pika.BasicProperties(
            content_type="application/json",
            delivery_mode=2,
            message_id=message.message_id,
            # A returned message comes without its delivery tag; this brings it back.
            correlation_id=str(self._last_tag),
            timestamp=int(time.time()),
        )
        if message.routing_key is None:
            self._channel.basic_publish("", message.queue, message.body, properties, mandatory=True)
        else:
            # where no queue is bound, nobody reads events here
            self._channel.basic_publish(EVENTS_EXCHANGE, message.routing_key, message.body, properties)

    def _answered(self, channel: Any, frame: Any) -> None:
        if channel is not self._channel:
            return
        confirmed = isinstance(frame.method, pika.spec.Basic.Ack)
        last: int = frame.method.delivery_tag
        if frame.method.multiple:
            # Tags are entered in order, so the oldest stand first.
            tags = []
            for tag in self._pending:
                if tag > last:
                    break
                tags.append(tag)
        else:
            tags = [last]
        for tag in tags:
            self._settle(tag, confirmed=confirmed)
            if self._channel is not channel:
                return
        self._pump()

    def _returned(self, channel: Any, _method: Any, properties: Any, _body: bytes) -> None:
        # Unroutable: somebody deleted the queue. The confirm that follows finds nothing left to settle.
        tag = int(properties.correlation_id)
        if channel is self._channel and tag in self._pending:
            batch, index = self._pending[tag]
            self._declared.discard(batch.messages[index].queue)
            batch.is_refused = False
            self._settle(tag, confirmed=False)

    def _settle(self, tag: int, *, confirmed: bool) -> None:
        batch, index = self._pending.pop(tag, (None, 0))
        if batch is None:
            return
        batch.settle(index, confirmed=confirmed)
        queue = batch.messages[index].queue
        if confirmed:
            if queue in self._renewed_for:
                log.info("rabbitmq confirms again", queue=queue)
            self._renewed_for.discard(queue)
        elif batch.settled.is_set() and batch.is_refused:
            # A channel goes on refusing for a queue that was full once, although the queue has room again.
            self._renew("rabbitmq refuses every message for a queue; opening a new connection", queue)


class _Connection(SelectConnection):  # type: ignore[misc]  # pika has no types
    """Hands a message to the system in one piece: pika makes a call for each of its three frames."""

    def _output_marshaled_frames(self, marshaled_frames: Sequence[bytes]) -> None:
        super()._output_marshaled_frames([b"".join(marshaled_frames)])


class _Batch:
    """What one call of `publish` waits for."""

    def __init__(self, messages: Sequence[Outgoing], began: float) -> None:
        self.messages = messages
        #: When RabbitMQ last answered, on the monotonic clock.
        self.answered_at = began
        #: Every answer so far was a nack.
        self.is_refused = True
        self.unsent = deque(range(len(messages)))
        self.confirmed: set[int] = set()
        self.settled = threading.Event()
        #: The caller has gone; what is not sent yet would only be sent twice.
        self.abandoned = False
        self._open = len(messages)

    def settle(self, index: int, *, confirmed: bool) -> None:
        self.answered_at = time.monotonic()
        if confirmed:
            self.confirmed.add(index)
            self.is_refused = False
        self._open -= 1
        if self._open == 0:
            self.settled.set()
