"""Events that wait are due again: parked ones, and those whose message never came back from RabbitMQ."""

import json
from collections.abc import Callable

import structlog
from sqlalchemy import Engine

from shared.contracts.routes import GATEWAY
from shared.contracts.webhooks import WebhookReceived
from shared.messaging.actors import encode_message
from shared.runtime.periodic_thread import PeriodicThread

log = structlog.get_logger(__name__)

LOOK_EVERY_SECONDS = 1.0

# Many workers may look at once. The next look at the same event is put off, so that it is told of once in a while and
# not every second; and while RabbitMQ takes nothing for
# this queue, nothing is added to what the outbox holds for it already. Other queues say nothing about this one.
_RELEASE = """
WITH due AS (
    SELECT id FROM webhook_events
    WHERE state = 'received' AND next_attempt_at <= now()
      AND NOT EXISTS (
          SELECT FROM outbox WHERE service = %(service)s AND message ->> 'queue_name' = %(queue)s
              AND created_at < now() - interval '10 seconds')
    ORDER BY next_attempt_at LIMIT 500 FOR UPDATE SKIP LOCKED
), told AS (
    INSERT INTO outbox (service, message)
    SELECT %(service)s, jsonb_set(
        jsonb_set(%(message)s::jsonb, '{kwargs,event_id}', to_jsonb(id)),
        '{message_id}', to_jsonb(gen_random_uuid()::text)) FROM due
)
UPDATE webhook_events SET next_attempt_at = now() + interval '5 minutes' FROM due
WHERE webhook_events.id = due.id
"""


def release_due(engine: Engine) -> int:
    """Promise a new message for every event that is due, and say how many there were."""
    with engine.begin() as connection:
        message = encode_message(WebhookReceived(event_id=0))
        values = {"service": GATEWAY, "queue": message["queue_name"], "message": json.dumps(message)}
        return int(connection.exec_driver_sql(_RELEASE, values).rowcount)


class DueEventScheduler(PeriodicThread):
    """A thread of the worker that looks for due events every second and wakes the relay."""

    def __init__(self, engine: Engine, wake: Callable[[], None]) -> None:
        super().__init__("due events", self._release, LOOK_EVERY_SECONDS)
        self._engine = engine
        self._wake_relay = wake

    def _release(self) -> None:
        if count := release_due(self._engine):
            log.info("waiting events are due", count=count)
            self._wake_relay()
