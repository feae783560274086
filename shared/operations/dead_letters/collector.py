"""Moves messages from a service's `.XQ` to the table `dead_letters`.

A message is acknowledged after the commit that keeps it. One that is delivered again is kept once.
"""
# mypy: disallow-untyped-calls=False

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import dramatiq
import pika
import structlog
from pika.exceptions import AMQPError
from prometheus_client import Counter, Gauge
from sqlalchemy import Engine, select
from sqlalchemy.exc import SQLAlchemyError

from shared.messaging.broker import connection_parameters
from shared.messaging.topology import dead_queue, declarations
from shared.operations.dead_letters.failure_recorder import DeadLetterKey, FailureRecorder
from shared.operations.dead_letters.parse import Letter, read_letter, storable
from shared.operations.dead_letters.queries import STATES, UNDECIDED, count_by_state, keep, record_failure
from shared.runtime.failpoints import failpoint
from shared.runtime.logs import describe
from shared.runtime.periodic_thread import PeriodicThread
from shared.schema.tables import dead_letters

BATCH_SIZE = 100
POLL_SECONDS = 0.5
COUNT_SECONDS = 15.0
#: Letters that are decided stay for good, so counting them takes the longer the older the installation is.
COUNT_DECIDED_SECONDS = 600.0
HEARTBEAT_SECONDS = 60

DEAD_LETTERS = Gauge(
    "nouba_dead_letters", "Rows of table dead_letters by what became of them.", ["queue", "state"],
    multiprocess_mode="livemostrecent",
)  # fmt: skip
COLLECTED = Counter("nouba_dead_letters_collected_total", "Deaths that this process has kept.", ["queue"])

log = structlog.get_logger(__name__)


class Collector(PeriodicThread):
    """A thread of a service's worker. Make it before the worker starts: it listens to why messages are given up."""

    def __init__(self, broker: dramatiq.Broker, engine: Engine, rabbitmq_url: str, queues: Sequence[str]) -> None:
        super().__init__("dead letters", self._collect_all, POLL_SECONDS, at_once=True)
        self._engine = engine
        self._queues = tuple(queues)
        self._parameters = connection_parameters(rabbitmq_url, heartbeat_seconds=HEARTBEAT_SECONDS)
        self._broker = broker
        self._failures = FailureRecorder()
        broker.add_middleware(self._failures)
        self._counted_at = self._counted_decided_at = float("-inf")
        # From here on: only the thread's own.
        self._channel: Any = None
        self._held: list[Letter] = []
        self._held_tag = 0

    def stop(self, timeout_seconds: float = 5.0) -> None:
        """Finish the batch in hand; what is not kept by then goes back to the `.XQ`."""
        super().stop(timeout_seconds)
        if not self.is_alive:
            self._disconnect()

    def _collect_all(self) -> None:
        try:
            channel = self._connected()
            # heartbeats, also while postgresql is away
            channel.connection.process_data_events(time_limit=0)
            for queue in self._queues:
                while self._collect(channel, queue) == BATCH_SIZE and not self.is_stopping:
                    pass
            self._record_failures()
            self._count()
        except SQLAlchemyError:
            # What is in hand stays there: to give it back counts as a delivery, and RabbitMQ 4 drops a message of
            # a quorum queue that was given back twenty times.
            raise
        except BaseException:
            self._disconnect()
            raise

    def _collect(self, channel: Any, queue: str) -> int:
        """Keep what lies there, a batch at most, and return how much that was."""
        if not self._held:
            with self._engine.connect() as connection:
                # nothing is taken that could not be kept
                connection.execute(select(dead_letters.c.id).limit(1))
            self._take(channel, queue)
        if not self._held:
            return 0
        with self._engine.begin() as connection:
            kept = [letter for letter in self._held if keep(connection, letter)]
        failpoint("dead.after_keep")
        channel.basic_ack(self._held_tag, multiple=True)
        failpoint("dead.after_ack")
        collected, self._held = len(self._held), []
        for letter in kept:
            self._failures.forget(DeadLetterKey(letter.queue, letter.message_id, letter.replays))
            COLLECTED.labels(letter.queue).inc()
            log.warning(
                "message died", queue=letter.queue, message_id=letter.message_id, actor=letter.actor, cause=letter.cause
            )
        return collected

    def _take(self, channel: Any, queue: str) -> None:
        # Asked for one by one: a consumer would be handed messages that nobody can keep yet.
        known = {actor.actor_name: int(actor.options["max_retries"]) for actor in self._broker.actors.values()}
        while len(self._held) < BATCH_SIZE:
            method, properties, body = channel.basic_get(dead_queue(queue))
            if method is None:
                return
            letter = read_letter(queue, properties, body, known)
            if words := self._failures.of(DeadLetterKey(queue, letter.message_id, letter.replays)):
                letter = replace(letter, cause=words.cause, error=storable(words.error))
            self._held.append(letter)
            self._held_tag = method.delivery_tag

    def _record_failures(self) -> None:
        """Say what killed messages that another process has collected."""
        unrecorded = self._failures.unrecorded()
        if unrecorded:
            with self._engine.begin() as connection:
                recorded = [death for death, words in unrecorded.items() if record_failure(connection, death, words)]
            for death in recorded:
                self._failures.forget(death)

    def _count(self) -> None:
        now = time.monotonic()
        if now - self._counted_at >= COUNT_SECONDS:
            has_decided = now - self._counted_decided_at >= COUNT_DECIDED_SECONDS
            states = STATES if has_decided else UNDECIDED
            for (queue, state), count in count_by_state(self._engine, self._queues, states).items():
                DEAD_LETTERS.labels(queue, state).set(count)
            self._counted_at = time.monotonic()
            if has_decided:
                self._counted_decided_at = self._counted_at

    def _connected(self) -> Any:
        if self._channel is None:
            self._channel = pika.BlockingConnection(self._parameters).channel()
            for queue in self._queues:
                xq = declarations(queue)[2]
                self._channel.queue_declare(xq.name, durable=True, arguments=dict(xq.arguments))
        return self._channel

    def _disconnect(self) -> None:
        """What is in hand and not acknowledged goes back to its queue with this."""
        channel, self._channel, self._held = self._channel, None, []
        if channel is not None and channel.connection.is_open:
            try:
                channel.connection.close()
            except (AMQPError, OSError) as error:
                log.info("connection ended before it was closed", error=describe(error))
