"""Readiness: webhooks are stored, published and settled."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from services.webhook_gateway.errors import StorageUnavailableError
from services.webhook_gateway.inbox.spool.spool import Spool
from shared.contracts.routes import GATEWAY, route_of
from shared.contracts.webhooks import WebhookReceived
from shared.runtime.bounded_connect import connect_within

#: A message that waits longer for RabbitMQ, or an event that waits longer for a worker, means that work stands still.
LONGEST_UNPUBLISHED_SECONDS = 60
LONGEST_UNSETTLED_SECONDS = 300
#: A database that does not say so within this is away.
LONGEST_LOOK_SECONDS = 2.0

# a parked event waits for the school, not for us, so only first attempts count
_AGES = """
SELECT
    (SELECT coalesce(extract(epoch FROM now() - min(created_at)), 0) FROM outbox
     WHERE service = %(service)s AND message ->> 'queue_name' = %(queue)s),
    (SELECT coalesce(extract(epoch FROM now() - min(coalesce(drained_at, received_at))), 0)
     FROM webhook_events
     WHERE state = 'received' AND attempts = 0)
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

    @property
    def is_spooling(self) -> bool:
        """The database is away, and what comes is kept all the same."""
        return not self.database and self.spool is SpoolState.READY

    @property
    def is_ready(self) -> bool:
        if not self.database:
            return self.is_spooling
        return (self.unpublished_seconds or 0) <= LONGEST_UNPUBLISHED_SECONDS and (
            self.unsettled_seconds or 0
        ) <= LONGEST_UNSETTLED_SECONDS

    def as_json(self) -> dict[str, Any]:
        status = "spooling" if self.is_spooling else "ready" if self.is_ready else "not ready"
        return {"status": status, **asdict(self)}


def check(engine: Engine, spool: Spool | None = None) -> Readiness:
    """Look now."""
    state, events = _look(spool)
    try:
        with connect_within(engine, LONGEST_LOOK_SECONDS) as connection:
            unpublished, unsettled = connection.exec_driver_sql(
                _AGES, {"service": GATEWAY, "queue": route_of(WebhookReceived).queue}
            ).one()
    except SQLAlchemyError:
        return Readiness(False, spool=state, spool_events=events)
    return Readiness(True, round(float(unpublished), 3), round(float(unsettled), 3), state, events)


def _look(spool: Spool | None) -> tuple[SpoolState, int]:
    if spool is None:
        return SpoolState.OFF, 0
    try:
        usage = spool.usage()
    except StorageUnavailableError:
        return SpoolState.FAILING, 0
    if spool.fault is not None:
        return SpoolState.FAILING, usage.events
    return SpoolState.READY if spool.has_room(usage) else SpoolState.FULL, usage.events
