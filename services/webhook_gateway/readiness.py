"""Whether the work is flowing: webhooks can be kept, are told to the workers, and are settled."""

from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from services.webhook_gateway.payments.sql_books import SERVICE

#: A message that waits longer for RabbitMQ, or an event that waits longer for a worker, means that work stands still.
LONGEST_UNPUBLISHED_SECONDS = 60
LONGEST_UNSETTLED_SECONDS = 300

# a parked event waits for the school, not for us, so only first attempts count
_AGES = """
SELECT
    (SELECT coalesce(extract(epoch FROM now() - min(created_at)), 0) FROM outbox WHERE service = %(service)s),
    (SELECT coalesce(extract(epoch FROM now() - min(received_at)), 0) FROM webhook_events
     WHERE state = 'received' AND attempts = 0)
"""


@dataclass(frozen=True, slots=True)
class Readiness:
    """The answer of `/readyz`; ages in seconds, absent where the database is away."""

    database: bool
    unpublished_seconds: float | None = None
    unsettled_seconds: float | None = None

    @property
    def is_ready(self) -> bool:
        return (
            self.database
            and (self.unpublished_seconds or 0) <= LONGEST_UNPUBLISHED_SECONDS
            and (self.unsettled_seconds or 0) <= LONGEST_UNSETTLED_SECONDS
        )

    def as_json(self) -> dict[str, Any]:
        return {"status": "ready" if self.is_ready else "not ready", **asdict(self)}


def check(engine: Engine) -> Readiness:
    """Look now."""
    try:
        with engine.connect() as connection:
            unpublished, unsettled = connection.exec_driver_sql(_AGES, {"service": SERVICE}).one()
    except SQLAlchemyError:
        return Readiness(database=False)
    return Readiness(True, round(float(unpublished), 3), round(float(unsettled), 3))
