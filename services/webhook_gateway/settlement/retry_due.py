"""Enqueues events again: parked ones that are due, and those whose message RabbitMQ has lost."""

import json
from collections.abc import Callable, Sequence

import structlog
from sqlalchemy import Engine

from services.webhook_gateway.inbox.postgres import MAX_BATCH, SETTLED_WITHIN
from shared.contracts.routes import GATEWAY
from shared.contracts.webhooks import WebhookReceived, WebhooksReceived
from shared.messaging.actors import encode_message
from shared.runtime.failpoints import failpoint
from shared.runtime.periodic_thread import PeriodicThread

log = structlog.get_logger(__name__)

POLL_SECONDS = 1.0
#: How often lost messages are searched for, and how old the first attempt of an event has to be for that.
LOST_MESSAGES_POLL_SECONDS = 10.0
LOST_AFTER_SECONDS = 45
#: A queue of so few messages is worked off within a second: an event that still waits is not in it.
SHORT_QUEUE_MESSAGES = 100

# Many workers may check at once. The next check of the same event is put off, so that it is enqueued now and then, and
# not every second; and while RabbitMQ takes nothing for this queue, nothing is added to what the outbox holds for it
# already. Other queues say nothing about this one. Events that nobody has tried share a message: theirs may only be far
# back in a long queue, which one more for each would make twice as long. What has failed before, or asks a provider, is
# alone.
_ENQUEUE = """
WITH due AS (
    SELECT id, attempts = 0 AND signed AS together FROM webhook_events
    WHERE state = 'received' AND {condition}
      AND NOT EXISTS (
          SELECT FROM outbox WHERE service = %(service)s AND message ->> 'queue_name' = %(queue)s
              AND created_at < now() - interval '10 seconds')
    ORDER BY next_attempt_at LIMIT 500 FOR UPDATE SKIP LOCKED
), numbered AS (
    SELECT id, CASE WHEN together THEN (row_number() OVER (PARTITION BY together ORDER BY id) - 1) / {largest}
                    ELSE -id END AS part FROM due
), enqueued AS (
    INSERT INTO outbox (service, message)
    SELECT %(service)s, jsonb_set(
        CASE WHEN count(*) = 1 THEN jsonb_set(%(one)s::jsonb, '{kwargs,event_id}', to_jsonb(min(id)))
             ELSE jsonb_set(%(several)s::jsonb, '{kwargs,event_ids}', jsonb_agg(id ORDER BY id)) END,
        '{message_id}', to_jsonb(gen_random_uuid()::text)) FROM numbered GROUP BY part
)
UPDATE webhook_events SET next_attempt_at = now() + {again} FROM due WHERE webhook_events.id = due.id
""".replace("{largest}", str(MAX_BATCH))
# in place of str.format: the statement has braces of its own
_RELEASE = _ENQUEUE.replace("{condition}", "next_attempt_at <= now()").replace(
    "{again}", "CASE WHEN attempts = 0 THEN interval '1 hour' ELSE interval '5 minutes' END"
)
# A first attempt is due `SETTLED_WITHIN` after the event was kept, whatever became of its message.
_OVERDUE = f"""attempts = 0 AND next_attempt_at > now()
    AND next_attempt_at <= now() + interval '{SETTLED_WITHIN}' - interval '{LOST_AFTER_SECONDS} seconds'"""
_RELEASE_LOST = _ENQUEUE.replace("{condition}", _OVERDUE).replace("{again}", f"interval '{SETTLED_WITHIN}'")
_COUNT_OVERDUE = f"SELECT EXISTS (SELECT FROM webhook_events WHERE state = 'received' AND {_OVERDUE})"  # noqa: S608


# Each on its own, where those that arrived together may not be settled together.
_ENQUEUE_ALONE = """
INSERT INTO outbox (service, message)
SELECT %(service)s, jsonb_set(
    jsonb_set(%(message)s::jsonb, '{kwargs,event_id}', to_jsonb(id)),
    '{message_id}', to_jsonb(gen_random_uuid()::text))
FROM webhook_events WHERE id = ANY(%(event_ids)s) AND state = 'received' ORDER BY id
"""


def enqueue_alone(engine: Engine, event_ids: Sequence[int]) -> None:
    """Enqueue a message of its own for each of the events that is not settled."""
    with engine.begin() as connection:
        message = json.dumps(encode_message(WebhookReceived(event_id=0)))
        values = {"service": GATEWAY, "message": message, "event_ids": list(event_ids)}
        connection.exec_driver_sql(_ENQUEUE_ALONE, values)
        failpoint("split.before_commit")
    failpoint("split.after_commit")


def release_due(engine: Engine) -> int:
    """Enqueue events that are due, and return how many there were."""
    return _enqueue(engine, _RELEASE)


def release_lost(engine: Engine, is_queue_short: Callable[[], bool]) -> int:
    """Enqueue every event that waits for its first attempt although the queue is short, and return how many.

    Its message is gone, with the broker's disk for example. RabbitMQ is asked only where there is such an event.
    """
    with engine.connect() as connection:
        if not connection.exec_driver_sql(_COUNT_OVERDUE).scalar_one():
            return 0
    return _enqueue(engine, _RELEASE_LOST) if is_queue_short() else 0


def _enqueue(engine: Engine, statement: str) -> int:
    with engine.begin() as connection:
        one, several = encode_message(WebhookReceived(event_id=0)), encode_message(WebhooksReceived(event_ids=()))
        values = {"one": json.dumps(one), "several": json.dumps(several)}
        values |= {"service": GATEWAY, "queue": one["queue_name"]}
        return int(connection.exec_driver_sql(statement, values).rowcount)


class DueEventScheduler(PeriodicThread):
    """A thread of the worker that searches for due events every second and wakes the relay."""

    def __init__(self, engine: Engine, wake: Callable[[], None]) -> None:
        super().__init__("due events", self._release, POLL_SECONDS)
        self._engine = engine
        self._wake_relay = wake

    def _release(self) -> None:
        if count := release_due(self._engine):
            log.info("waiting events are due", count=count)
            self._wake_relay()
