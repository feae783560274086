"""Readiness: webhooks are stored, published and settled."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from services.webhook_gateway.errors import StorageUnavailableError
from services.webhook_gateway.inbox.spool.drain import Drain
from services.webhook_gateway.inbox.spool.spool import Spool, Usage
from shared.contracts.routes import GATEWAY, route_of
from shared.contracts.webhooks import WebhooksReceived
from shared.runtime.database import connect_within

#: A message that waits longer for RabbitMQ, or an event that waits longer for a worker, means that work stands still.
MAX_UNPUBLISHED_SECONDS = 60
MAX_UNSETTLED_SECONDS = 300
#: The oldest webhook of the spool may stay so long beside a database that answers.
MAX_UNDRAINED_SECONDS = 60
#: A database that does not say so within this is away.
MAX_CHECK_SECONDS = 2.0

# a parked event waits for the school, not for us, so only first attempts count
_AGES = """
SELECT
    (SELECT coalesce(extract(epoch FROM now() - min(created_at)), 0) FROM outbox
     WHERE service = %(service)s AND message ->> 'queue_name' = %(queue)s),
    (SELECT coalesce(extract(epoch FROM now() - min(coalesce(drained_at, received_at))), 0)
     FROM webhook_events
     WHERE state = 'received' AND attempts = 0),
    current_setting('transaction_read_only')::boolean
"""


class SpoolState(StrEnum):
    """Whether webhooks can be kept without the database."""

    #: There is none.
    OFF = "off"
    READY = "ready"
    FULL = "full"
    #: Its folder or its disk does not let it write; the log says why.
    FAILING = "failing"


@dataclass(frozen=True, slots=True)
class Readiness:
    """The answer of `/readyz`; ages in seconds, absent where the database is away."""

    database: bool
    unpublished_seconds: float | None = None
    unsettled_seconds: float | None = None
    spool: SpoolState = SpoolState.OFF
    spool_events: int = 0
    undrained_seconds: float = 0.0

    @property
    def is_spooling(self) -> bool:
        """The database is away, and what comes is kept all the same."""
        return not self.database and self.spool is SpoolState.READY

    @property
    def is_ready(self) -> bool:
        if not self.database:
            return self.is_spooling
        return (
            (self.unpublished_seconds or 0) <= MAX_UNPUBLISHED_SECONDS
            and (self.unsettled_seconds or 0) <= MAX_UNSETTLED_SECONDS
            and self.undrained_seconds <= MAX_UNDRAINED_SECONDS
        )

    def as_json(self) -> dict[str, Any]:
        status = "spooling" if self.is_spooling else "ready" if self.is_ready else "not ready"
        return {"status": status, **asdict(self)}


def check(engine: Engine, spool: Spool | None = None, drain: Drain | None = None) -> Readiness:
    """Check now. A database that cannot be written to is away, whatever it answers: the drain knows."""
    state, usage = _spool_state(spool)
    events = usage.events if usage else 0
    if drain is not None and drain.is_database_unavailable:
        return Readiness(False, spool=state, spool_events=events)
    try:
        with connect_within(engine, MAX_CHECK_SECONDS) as connection:
            unpublished, unsettled, is_read_only = connection.exec_driver_sql(
                _AGES, {"service": GATEWAY, "queue": route_of(WebhooksReceived).queue}
            ).one()
            if is_read_only:
                # a standby, or a server that was made read-only: it would answer so for ever
                connection.invalidate()
                return Readiness(False, spool=state, spool_events=events)
    except SQLAlchemyError:
        return Readiness(False, spool=state, spool_events=events)
    undrained = drain.undrained_seconds(usage) if drain and usage else 0.0
    return Readiness(True, round(float(unpublished), 3), round(float(unsettled), 3), state, events, round(undrained, 3))


def _spool_state(spool: Spool | None) -> tuple[SpoolState, Usage | None]:
    if spool is None:
        return SpoolState.OFF, None
    try:
        usage = spool.usage()
    except StorageUnavailableError:
        return SpoolState.FAILING, None
    if spool.fault is not None:
        return SpoolState.FAILING, usage
    return SpoolState.READY if spool.has_room(usage) else SpoolState.FULL, usage
