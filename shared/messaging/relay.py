"""Publishes the outbox to RabbitMQ: a row is deleted when its message is confirmed, never before.

Each queue has a relay of its own: a thread, a connection to RabbitMQ and a transaction. RabbitMQ stops reading from a
connection while one queue confirms nothing, so a shared connection would stop every queue.
Any number of relays, in any number of processes, may run for one service: each claims rows that no other has locked.
A message may be sent twice (a relay that dies after the confirm); none is ever lost. Handlers are idempotent.
"""

import json

from sqlalchemy import Connection, Engine, Row, delete

from shared.contracts.routes import ROUTES
from shared.messaging.publisher import WINDOW, Outgoing, Publisher
from shared.messaging.topology import EVENTS_EXCHANGE
from shared.runtime import metrics
from shared.runtime.failpoints import failpoint
from shared.runtime.periodic_thread import PeriodicThread
from shared.schema.tables import outbox

#: Between two batches nothing is under way, so one is as large as the window of messages that wait for their confirm.
BATCH_SIZE = WINDOW
#: After a batch of which nothing was confirmed the next one is smaller by this: what is sent again adds to the queue.
SHRINK_BY = 10
POLL_SECONDS = 1.0
#: How long it waits, once woken, for what is committed at about the same time: a batch costs hardly more than a row.
GATHER_SECONDS = 0.025
#: How long a relay waits for the next confirm before it gives the connection up. Long, so that late confirms count:
#: only this queue waits. The rows stay locked for four times as long at most.
CONFIRM_TIMEOUT_SECONDS = 15.0
STOP_TIMEOUT_SECONDS = 5.0
MIN_BACKOFF_SECONDS = 0.1
MAX_BACKOFF_SECONDS = 5.0
#: How often the backlog is counted for the metrics.
COUNT_SECONDS = 5.0

# Gone when the transaction commits, which is after the confirms; until then no other relay sees the rows. The array is
# made once, where a plain subquery might be asked, and lock, again.
_TAKE = """
DELETE FROM outbox WHERE id = ANY(ARRAY(
    SELECT id FROM outbox WHERE service = %s AND message ->> 'queue_name' = %s
    ORDER BY id {order} LIMIT %s FOR UPDATE SKIP LOCKED
)) RETURNING id, message ->> 'message_id' AS message_id, message::text AS body
"""
_TAKE_OLDEST, _TAKE_NEWEST = _TAKE.format(order="ASC"), _TAKE.format(order="DESC")
_BACKLOG = """
SELECT message ->> 'queue_name', count(*), coalesce(extract(epoch FROM now() - min(created_at)), 0)
FROM outbox WHERE service = %s GROUP BY 1
"""


def backlog(engine: Engine, service: str) -> tuple[int, float]:
    """How many messages of `service` wait in the outbox, and the age of the oldest in seconds."""
    found = backlogs(engine, service).values()
    return sum(count for count, _ in found), max((age_seconds for _, age_seconds in found), default=0.0)


def backlogs(engine: Engine, service: str) -> dict[str, tuple[int, float]]:
    """The same by queue; a queue without messages is absent."""
    with engine.connect() as connection:
        rows = connection.exec_driver_sql(_BACKLOG, (service,)).all()
    return {str(queue): (int(count), max(0.0, float(age_seconds))) for queue, count, age_seconds in rows}


def published_queues(service: str) -> tuple[str, ...]:
    """The queues to which `service` publishes."""
    return tuple(sorted({route.queue for route in ROUTES if route.publisher == service}))


def connections_of(service: str) -> int:
    """How many database connections the relay of `service` uses at once."""
    return len(published_queues(service)) + 1


class Relay:
    """Publishes the outbox of one service, with a relay for each queue. Make it after the fork.

    `engine` needs `connections_of(service)` connections: a relay keeps one while it waits for confirms.
    """

    def __init__(self, engine: Engine, rabbitmq_url: str, service: str) -> None:
        self._engine = engine
        self._rabbitmq_url = rabbitmq_url
        self._service = service
        self._queues = {queue: self._queue_relay(queue) for queue in published_queues(service)}
        self._counting = PeriodicThread(f"relay {service}", self._count, COUNT_SECONDS, at_once=True)

    def start(self) -> None:
        """Begin, with whatever an earlier process left behind."""
        for relay in self._queues.values():
            relay.start()
        self._counting.start()

    def wake(self, *queues: str) -> None:
        """Publish now, because a row has been committed for `queues`, or for any queue where none is named.

        Cheap, and many calls may lead to one round; a queue's relay that is woken for nothing costs a round trip.
        """
        for queue in queues or tuple(self._queues):
            self._queues[queue].wake()

    def stop(self, timeout_seconds: float = STOP_TIMEOUT_SECONDS) -> None:
        """Finish the batches in hand; other rows stay for the next process."""
        self._counting.stop(timeout_seconds)
        relays = tuple(self._queues.values())
        for relay in relays:
            relay.request_stop()
        for relay in relays:
            relay.stop(timeout_seconds)

    @property
    def is_alive(self) -> bool:
        """Whether the threads run."""
        return self._counting.is_alive and all(relay.is_alive for relay in self._queues.values())

    def _queue_relay(self, queue: str) -> "QueueRelay":
        return QueueRelay(self._engine, Publisher(self._rabbitmq_url), self._service, queue)

    def _count(self) -> None:
        found = backlogs(self._engine, self._service)
        # a newer or an older release publishes to a queue of its own
        for queue in found.keys() - self._queues.keys():
            relay = self._queue_relay(queue)
            relay.start()
            self._queues = {**self._queues, queue: relay}
        metrics.OUTBOX_PENDING.labels(self._service).set(sum(count for count, _ in found.values()))
        metrics.OUTBOX_AGE_SECONDS.labels(self._service).set(
            max((age_seconds for _, age_seconds in found.values()), default=0.0)
        )


class QueueRelay:
    """Publishes the rows of one queue."""

    def __init__(self, engine: Engine, publisher: Publisher, service: str, queue: str) -> None:
        self._engine = engine
        self._publisher = publisher
        self._service = service
        self._queue = queue
        self._thread = PeriodicThread(f"relay {service} {queue}", self._round, POLL_SECONDS, at_once=True)
        self._size = BATCH_SIZE
        self._newest_first = False
        self._backoff_seconds = MIN_BACKOFF_SECONDS

    def start(self) -> None:
        self._publisher.start()
        self._thread.start()

    def wake(self) -> None:
        self._thread.wake()

    def request_stop(self) -> None:
        self._thread.request_stop()

    def stop(self, timeout_seconds: float) -> None:
        self._thread.stop(timeout_seconds)
        # ends the wait for confirms that do not come
        self._publisher.stop()
        self._thread.join(timeout_seconds)

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive

    def _round(self) -> bool:
        """Publish one batch, and return whether there may be more."""
        # Without RabbitMQ no transaction is opened and no row locked.
        if not self._publisher.wait_until_ready(POLL_SECONDS):
            return True
        if self._thread.was_woken:
            self._thread.pause(GATHER_SECONDS)
        size = self._size
        claimed, confirmed = self.publish_batch(size)
        more = claimed == size
        # More than a batch waits: let the newest not wait for all the old ones, nor the old ones for ever.
        self._newest_first = more and not self._newest_first
        if confirmed or not claimed:
            self._size = BATCH_SIZE
        else:
            self._size = max(1, self._size // SHRINK_BY)
        if confirmed:
            self._backoff_seconds = MIN_BACKOFF_SECONDS
        if confirmed < claimed:
            self._back_off()
            return True
        return more

    def publish_batch(self, size: int) -> tuple[int, int]:
        """Publish one batch, and return how many rows were claimed and how many are gone."""
        with self._engine.connect() as connection:
            rows = self._take(connection, size)
            if not rows:
                return 0, 0
            failpoint("relay.after_claim")
            outgoing = [_outgoing(self._queue, row) for row in rows]
            confirmed = [rows[index].id for index in self._publisher.publish(outgoing, CONFIRM_TIMEOUT_SECONDS)]
            failpoint("relay.after_publish")
            if len(confirmed) < len(rows):
                # what is not confirmed stays; what is goes by itself
                connection.rollback()
                connection.execute(delete(outbox).where(outbox.c.id.in_(confirmed)))
            connection.commit()
        failpoint("relay.after_commit")
        metrics.RELAY_PUBLISHED.labels(self._service).inc(len(confirmed))
        metrics.RELAY_UNCONFIRMED.labels(self._service).inc(len(rows) - len(confirmed))
        return len(rows), len(confirmed)

    def _take(self, connection: Connection, size: int) -> list[Row[tuple[int, str, str]]]:
        statement = _TAKE_NEWEST if self._newest_first else _TAKE_OLDEST
        rows = connection.exec_driver_sql(statement, (self._service, self._queue, size)).all()
        return sorted(rows, key=lambda row: row.id)

    def _back_off(self) -> None:
        self._thread.pause(self._backoff_seconds)
        self._backoff_seconds = min(MAX_BACKOFF_SECONDS, self._backoff_seconds * 2)


def _outgoing(queue: str, row: Row[tuple[int, str, str]]) -> Outgoing:
    if queue != EVENTS_EXCHANGE:
        return Outgoing(queue, row.body.encode(), row.message_id)
    # an event is for other programs: they get it as endpoints do, and nothing of dramatiq
    message = json.loads(row.body)
    body = json.dumps(message["event"], ensure_ascii=False, separators=(",", ":"))
    return Outgoing(queue, body.encode(), row.message_id, message["routing_key"])
