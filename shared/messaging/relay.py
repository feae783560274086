"""Carries the outbox to RabbitMQ: a row goes when its message is confirmed, never before.

Any number of relays, in any number of processes, may run for one service: each claims rows that no other has locked.
A message may be sent twice (a relay that dies after the confirm); none is ever lost. Handlers are idempotent.
"""

import threading
import time

import structlog
from sqlalchemy import Connection, Engine, Row, delete, func, select
from sqlalchemy.exc import SQLAlchemyError

from shared.messaging.publisher import WINDOW, Outgoing, Publisher
from shared.runtime import metrics
from shared.runtime.failpoints import failpoint
from shared.runtime.logs import describe
from shared.schema.tables import outbox

#: Between two batches nothing is under way, so one is as large as the window of messages that wait for their confirm.
BATCH_SIZE = WINDOW
POLL_SECONDS = 1.0
#: How long it waits, once woken, for what is committed at about the same time: a batch costs hardly more than a row.
GATHER_SECONDS = 0.025
#: How long rows stay locked for RabbitMQ's confirms.
CONFIRM_TIMEOUT_SECONDS = 5.0
SHORTEST_BACKOFF_SECONDS = 0.1
LONGEST_BACKOFF_SECONDS = 5.0
#: How often the backlog is counted for the metrics.
COUNT_SECONDS = 5.0

# Gone when the transaction commits, which is after the confirms; until then no other relay sees the rows. The array is
# made once, where a plain subquery might be asked, and lock, again.
_TAKE = """
DELETE FROM outbox WHERE id = ANY(ARRAY(
    SELECT id FROM outbox WHERE service = %s ORDER BY id {order} LIMIT %s FOR UPDATE SKIP LOCKED
)) RETURNING id, message ->> 'queue_name' AS queue, message ->> 'message_id' AS message_id, message::text AS body
"""
_TAKE_OLDEST, _TAKE_NEWEST = _TAKE.format(order="ASC"), _TAKE.format(order="DESC")

log = structlog.get_logger(__name__)


def backlog(engine: Engine, service: str) -> tuple[int, float]:
    """How many messages of `service` wait in the outbox, and the age of the oldest in seconds."""
    age = func.extract("epoch", func.now() - func.min(outbox.c.created_at))
    query = select(func.count(), func.coalesce(age, 0)).where(outbox.c.service == service)
    with engine.connect() as connection:
        count, age_seconds = connection.execute(query).one()
    return int(count), max(0.0, float(age_seconds))


class Relay:
    """A thread that publishes the outbox of one service, with a publisher of its own. Make it after the fork."""

    def __init__(self, engine: Engine, publisher: Publisher, service: str) -> None:
        self._engine = engine
        self._publisher = publisher
        self._service = service
        self._thread = threading.Thread(target=self._run, name=f"relay {service}", daemon=True)
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._newest_first = False
        self._backoff_seconds = SHORTEST_BACKOFF_SECONDS
        self._counted_at = 0.0
        self._database_away = False

    def start(self) -> None:
        """Begin, with whatever an earlier process left behind."""
        self._publisher.start()
        self._thread.start()

    def wake(self) -> None:
        """Say that a row has been committed. Costs next to nothing, and many calls may lead to one round."""
        self._wake.set()

    def stop(self, timeout_seconds: float = CONFIRM_TIMEOUT_SECONDS) -> None:
        """Finish the batch in hand; other rows stay for the next process."""
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout_seconds)
        self._publisher.stop()

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._round()
            except SQLAlchemyError as error:
                if not self._database_away:
                    log.warning("postgresql is away, trying again until it is back", error=describe(error))
                self._database_away = True
                self._back_off()
            except Exception:
                log.exception("relay failed, trying again")
                self._back_off()

    def _round(self) -> None:
        # Without RabbitMQ no transaction is opened and no row locked.
        if not self._publisher.wait_until_ready(POLL_SECONDS):
            self._count()
            return
        self._wake.clear()
        claimed, confirmed = self._carry()
        if self._database_away:
            log.info("postgresql is back")
        self._database_away = False
        self._count()
        more = claimed == BATCH_SIZE
        # More than a batch waits: let the newest not wait for all the old ones, nor the old ones for ever.
        self._newest_first = more and not self._newest_first
        if confirmed:
            self._backoff_seconds = SHORTEST_BACKOFF_SECONDS
        if confirmed < claimed:
            self._back_off()
        elif not more and self._wake.wait(POLL_SECONDS):
            self._stopping.wait(GATHER_SECONDS)

    def _carry(self) -> tuple[int, int]:
        """Publish one batch, and return how many rows were claimed and how many are gone."""
        with self._engine.connect() as connection:
            rows = self._take(connection)
            if not rows:
                return 0, 0
            failpoint("relay.after_claim")
            outgoing = [Outgoing(row.queue, row.body.encode(), row.message_id) for row in rows]
            confirmed = [rows[index].id for index in self._publisher.publish(outgoing, CONFIRM_TIMEOUT_SECONDS)]
            failpoint("relay.after_publish")
            if len(confirmed) < len(rows):
                # what is not confirmed stays; what is goes by itself
                connection.rollback()
                connection.execute(delete(outbox).where(outbox.c.id.in_(confirmed)))
            connection.commit()
        failpoint("relay.after_commit")
        metrics.RELAY_PUBLISHED.labels(self._service).inc(len(confirmed))
        metrics.RELAY_FAILED.labels(self._service).inc(len(rows) - len(confirmed))
        return len(rows), len(confirmed)

    def _take(self, connection: Connection) -> list[Row[tuple[int, str, str, str]]]:
        statement = _TAKE_NEWEST if self._newest_first else _TAKE_OLDEST
        rows = connection.exec_driver_sql(statement, (self._service, BATCH_SIZE)).all()
        return sorted(rows, key=lambda row: row.id)

    def _back_off(self) -> None:
        self._stopping.wait(self._backoff_seconds)
        self._backoff_seconds = min(LONGEST_BACKOFF_SECONDS, self._backoff_seconds * 2)

    def _count(self) -> None:
        if time.monotonic() - self._counted_at >= COUNT_SECONDS:
            self._counted_at = time.monotonic()
            count, age_seconds = backlog(self._engine, self._service)
            metrics.RELAY_BACKLOG.labels(self._service).set(count)
            metrics.RELAY_BACKLOG_AGE_SECONDS.labels(self._service).set(age_seconds)
