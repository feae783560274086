"""Pauses queues: a row in `queue_pauses`, which workers obey within two seconds.

A resting worker finishes what it has in hand, keeps its connection, and takes nothing new. A worker that cannot ask
the database when it starts takes nothing either, until it can.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog
from prometheus_client import Gauge
from sqlalchemy import Engine, delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import SQLAlchemyError

from shared.contracts.routes import QUEUES
from shared.messaging.broker import QuorumBroker
from shared.operations import audit_log
from shared.runtime.logs import describe
from shared.runtime.periodic_thread import PeriodicThread
from shared.runtime.translatable_sentence import Sentence
from shared.schema.tables import queue_pauses

POLL_SECONDS = 1.0

PAUSED = Gauge(
    "nouba_queue_paused", "1 while an operator lets the queue rest.", ["queue"], multiprocess_mode="livemostrecent"
)

log = structlog.get_logger(__name__)


class UnknownQueueError(Exception):
    """There is no such queue; the message names those that there are."""


@dataclass(frozen=True, slots=True)
class Pause:
    """A queue that rests, since when, by whom and why."""

    queue: str
    who: str
    why: str | None
    paused_at: datetime


def pause(engine: Engine, queue: str, *, who: str, why: str | None = None) -> bool:
    """Let `queue` rest until it is resumed; False where it rests already. Raises UnknownQueueError."""
    _require(queue)
    with engine.begin() as connection:
        statement = insert(queue_pauses).values(queue=queue, who=who, why=why).on_conflict_do_nothing()
        paused = connection.execute(statement).rowcount == 1
        if paused:
            audit_log.record(connection, who=who, what="queue.pause", why=why, ids=[queue])
    return paused


def resume(engine: Engine, queue: str, *, who: str, why: str | None = None) -> bool:
    """Have `queue` worked on again; False where it does not rest. Raises UnknownQueueError."""
    _require(queue)
    with engine.begin() as connection:
        resumed = connection.execute(delete(queue_pauses).where(queue_pauses.c.queue == queue)).rowcount == 1
        if resumed:
            audit_log.record(connection, who=who, what="queue.resume", why=why, ids=[queue])
    return resumed


def list_pauses(engine: Engine) -> Mapping[str, Pause]:
    """The queues that rest, by name."""
    with engine.connect() as connection:
        rows = connection.execute(select(*queue_pauses.c["queue", "who", "why", "paused_at"]))
        return {row.queue: Pause(*row) for row in rows}


class PauseWatch(PeriodicThread):
    """A thread of a service's worker. Start it before the worker: it decides whether a first message is taken.

    While PostgreSQL is away, queues stay paused or not as they were.
    """

    def __init__(self, broker: QuorumBroker, engine: Engine, queues: Sequence[str]) -> None:
        super().__init__("queue pauses", self._poll, POLL_SECONDS)
        self._broker = broker
        self._engine = engine
        self._queues = frozenset(queues)

    def start(self) -> None:
        """Ask at once, since the worker starts right after."""
        self._broker.resting = self._queues
        try:
            self._poll()
        except SQLAlchemyError as error:
            log.warning("postgresql is away: every queue is paused until it is back", error=describe(error))
        super().start()

    def _poll(self) -> None:
        paused = self._queues & list_pauses(self._engine).keys()
        for queue in self._queues:
            PAUSED.labels(queue).set(queue in paused)
        if paused != self._broker.resting:
            log.info("queues rest", queues=sorted(paused))
        self._broker.resting = paused


def _require(queue: str) -> None:
    if queue not in QUEUES:
        known = {"queue": repr(queue), "queues": ", ".join(QUEUES)}
        raise UnknownQueueError(Sentence("There is no queue %(queue)s; the queues are %(queues)s.", **known))
