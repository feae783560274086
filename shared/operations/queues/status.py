"""The status of each queue: counts, rates, latency, time to clear."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from shared.contracts.routes import QUEUES
from shared.messaging.topology import dead_queue, declarations, delayed_queue
from shared.operations.dead_letters.queries import count_by_state
from shared.operations.queues.pauses import Pause, list_pauses
from shared.operations.queues.rabbitmq_stats import (
    Counted,
    ManagementUnavailableError,
    Measured,
    ask_amqp,
    ask_management,
)
from shared.runtime.logs import describe
from shared.runtime.translatable_sentence import Sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueStatus:
    """The status of one queue now; None where it is unknown."""

    queue: str
    ready: int | None
    in_work: int | None
    #: Retries that are not due yet.
    delayed: int | None
    #: In the `.XQ`, and in table `dead_letters` with nobody's decision yet.
    dead: int | None
    consumers: int | None
    #: Messages a second, retries among them, over the last seconds.
    arrivals_per_second: float | None
    departures_per_second: float | None
    #: By Little's law: those that are in the queue or in work, over those that leave it in a second.
    mean_seconds: float | None
    #: While both rates stay; None where the queue is not getting shorter.
    clear_seconds: float | None
    paused_at: datetime | None
    paused_by: str | None

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "paused_at": self.paused_at.isoformat() if self.paused_at else None}


@dataclass(frozen=True, slots=True)
class QueueStatuses:
    """All queues, and what is not known and why, in sentences."""

    queues: Sequence[QueueStatus]
    notes: Sequence[Sentence]

    def as_json(self) -> dict[str, Any]:
        return {"queues": [one.as_json() for one in self.queues], "notes": list(self.notes)}


def queue_statuses(
    engine: Engine, rabbitmq_url: str, management_url: str | None, queues: Sequence[str] = QUEUES
) -> QueueStatuses:
    """Read the status now. Raises pika's AMQPError where RabbitMQ is away."""
    notes: list[Sentence] = []
    counted = ask_amqp(rabbitmq_url, [one.name for queue in queues for one in declarations(queue)])
    measured = _measure(rabbitmq_url, management_url, notes)
    pauses, kept = _rows(engine, queues, notes)
    return QueueStatuses([_status(queue, counted, measured, pauses, kept) for queue in queues], notes)


def _measure(rabbitmq_url: str, management_url: str | None, notes: list[Sentence]) -> Mapping[str, Measured]:
    if management_url is None:
        reason = Sentence("NOUBA_RABBITMQ_MANAGEMENT_URL is not set")
    else:
        try:
            return ask_management(management_url, rabbitmq_url)
        except ManagementUnavailableError as error:
            reason = error.args[0]
    notes.append(Sentence("Unacknowledged, delayed, rates and times are unknown: %(reason)s.", reason=reason))
    return {}


def _rows(
    engine: Engine, queues: Sequence[str], notes: list[Sentence]
) -> tuple[Mapping[str, Pause], Mapping[tuple[str, str], int] | None]:
    try:
        return list_pauses(engine), count_by_state(engine, queues)
    except SQLAlchemyError as error:
        pattern = "Pauses and collected dead letters are unknown: PostgreSQL is unavailable (%(error)s)."
        notes.append(Sentence(pattern, error=describe(error)))
        return {}, None


def _status(
    queue: str,
    counted: Mapping[str, Counted],
    measured: Mapping[str, Measured],
    pauses: Mapping[str, Pause],
    kept: Mapping[tuple[str, str], int] | None,
) -> QueueStatus:
    own, delayed, dead = (counted.get(name) for name in (queue, delayed_queue(queue), dead_queue(queue)))
    flow, held, pause = measured.get(queue), measured.get(delayed_queue(queue)), pauses.get(queue)
    return QueueStatus(
        queue=queue,
        ready=own.ready if own else None,
        in_work=flow.unacknowledged if flow else None,
        # a worker holds them unacknowledged
        delayed=delayed.ready + held.unacknowledged if delayed and held else None,
        dead=None if kept is None else kept[queue, "dead"] + (dead.ready if dead else 0),
        consumers=own.consumers if own else None,
        arrivals_per_second=flow.arrivals_per_second if flow else None,
        departures_per_second=flow.departures_per_second if flow else None,
        mean_seconds=_mean_seconds(own.ready + flow.unacknowledged, flow) if own and flow else None,
        clear_seconds=_clear_seconds(own.ready + flow.unacknowledged, flow) if own and flow else None,
        paused_at=pause.paused_at if pause else None,
        paused_by=pause.who if pause else None,
    )


def _mean_seconds(messages: int, flow: Measured) -> float | None:
    return messages / flow.departures_per_second if flow.departures_per_second else None


def _clear_seconds(messages: int, flow: Measured) -> float | None:
    if messages == 0:
        return 0.0
    gain = flow.departures_per_second - flow.arrivals_per_second
    return messages / gain if gain > 0 else None
