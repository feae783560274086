"""Events, endpoints and deliveries in PostgreSQL, as far as the events worker needs them."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Engine

from services.webhook_gateway.events_out.model import Attempt, Batch, Delivery, Endpoint, EndpointHealth
from shared.contracts.event_types import DeliverEvents
from shared.contracts.routes import GATEWAY
from shared.messaging import outbox
from shared.messaging.topology import EVENTS_EXCHANGE
from shared.operations.webhook_endpoints.endpoints import LEASE_SECONDS
from shared.runtime.failpoints import failpoint

#: Events that one transaction fans out.
FAN_OUT: Final = 500
#: A message that was enqueued so long ago is lost.
MESSAGE_LOST_SECONDS: Final = 60
#: Attempts that a delivery's log keeps.
LOG_ENTRIES: Final = 50
#: One transaction at a time fans out: an event that is committed later must not overtake its key's earlier one.
_LOCK: Final = 4_040_040

#: What is sent to endpoints and published to the exchange.
_ENVELOPE: Final = """jsonb_build_object('id', 'evt_' || event.id, 'type', event.type, 'version', event.version,
    'timestamp', to_char(event.occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'data', event.payload)"""

# An event has a delivery for each endpoint: with many endpoints a statement takes fewer events.
_LIMIT: Final = """least(%s, greatest(1, 50000 / (SELECT greatest(1, count(*)) FROM webhook_endpoints)))"""

_FAN_OUT: Final = """
WITH event AS (
    UPDATE events SET fanned_out_at = clock_timestamp() WHERE id = ANY(ARRAY(
        SELECT id FROM events WHERE fanned_out_at IS NULL ORDER BY id LIMIT {limit})) RETURNING *
), made AS (
    INSERT INTO webhook_deliveries (endpoint_id, event_id, key)
    SELECT endpoint.id, event.id, split_part(event.type, '.', 1) || ':' || event.key
    FROM event JOIN webhook_endpoints AS endpoint
        ON endpoint.enabled AND (endpoint.event_types = '{}' OR event.type = ANY(endpoint.event_types))
    ORDER BY event.id, endpoint.id
    ON CONFLICT DO NOTHING RETURNING endpoint_id
), published AS (
    INSERT INTO outbox (service, message)
    SELECT %s, jsonb_build_object('queue_name', %s, 'routing_key', event.type, 'message_id', 'evt_' || event.id,
        'event', {envelope})
    FROM event WHERE %s ORDER BY event.id
)
SELECT (SELECT count(*) FROM event) AS taken, ARRAY(SELECT DISTINCT endpoint_id FROM made) AS endpoints
""".replace("{envelope}", _ENVELOPE).replace("{limit}", _LIMIT)

# locked in one order, as several rows are
_ENQUEUE: Final = """
UPDATE webhook_endpoints SET queued_at = now() WHERE id = ANY(ARRAY(
    SELECT id FROM webhook_endpoints WHERE id = ANY(%s) AND enabled
        AND (held_until_at IS NULL OR held_until_at <= now())
        AND (queued_at IS NULL OR queued_at < now() - make_interval(secs => %s))
    ORDER BY id FOR NO KEY UPDATE)) RETURNING id
"""
_DUE_ENDPOINTS: Final = """
SELECT id FROM webhook_endpoints AS endpoint WHERE enabled AND (held_until_at IS NULL OR held_until_at <= now())
    AND EXISTS (SELECT FROM webhook_deliveries AS delivery
        WHERE delivery.endpoint_id = endpoint.id AND state = 'pending' AND due_at <= now())
"""

# First: a transaction that makes a delivery after this scan enqueues a message of its own.
_TAKE_MESSAGE: Final = "UPDATE webhook_endpoints SET queued_at = NULL WHERE id = %s AND queued_at IS NOT NULL"
_CLAIM: Final = f"""
WITH due AS MATERIALIZED (
    SELECT delivery.id FROM webhook_endpoints AS endpoint
    JOIN webhook_deliveries AS delivery ON delivery.endpoint_id = endpoint.id
    WHERE endpoint.id = %s AND endpoint.enabled
        AND (endpoint.held_until_at IS NULL OR endpoint.held_until_at <= clock_timestamp())
        AND delivery.state = 'pending' AND delivery.due_at <= clock_timestamp()
        AND NOT (endpoint.ordered AND EXISTS (
            SELECT FROM webhook_deliveries AS earlier WHERE earlier.endpoint_id = delivery.endpoint_id
                AND earlier.key = delivery.key AND earlier.state = 'pending' AND earlier.event_id < delivery.event_id))
    ORDER BY delivery.due_at, delivery.id
    LIMIT CASE WHEN (SELECT failures FROM webhook_endpoints WHERE id = %s) > 0 THEN 1 ELSE %s END
    FOR UPDATE OF delivery SKIP LOCKED
), leased AS (
    UPDATE webhook_deliveries SET due_at = clock_timestamp() + make_interval(secs => %s)
    WHERE id IN (SELECT id FROM due) RETURNING id, endpoint_id, event_id, attempts, began_at
)
SELECT leased.id, leased.event_id, leased.attempts, leased.began_at, event.occurred_at, {_ENVELOPE} AS envelope,
    endpoint.id AS endpoint_id, endpoint.url, endpoint.secret, endpoint.failures, endpoint.failing_since_at,
    CASE WHEN endpoint.previous_until_at > now() THEN endpoint.previous_secret END AS previous_secret
FROM leased JOIN events AS event ON event.id = leased.event_id
JOIN webhook_endpoints AS endpoint ON endpoint.id = leased.endpoint_id
ORDER BY leased.event_id
"""  # noqa: S608

_RECORD: Final = f"""
UPDATE webhook_deliveries AS delivery SET state = given.state, attempts = delivery.attempts + 1,
    due_at = coalesce(given.due_at, delivery.due_at), ended_at = CASE WHEN given.state <> 'pending' THEN now() END,
    log = CASE WHEN jsonb_array_length(delivery.log) >= {LOG_ENTRIES} THEN delivery.log - 0 ELSE delivery.log END
        || jsonb_build_array(given.entry)
FROM jsonb_to_recordset(%s) AS given(id bigint, state text, due_at timestamptz, entry jsonb)
WHERE delivery.id = given.id AND delivery.state = 'pending'
"""  # noqa: S608
_GIVE_BACK: Final = "UPDATE webhook_deliveries SET due_at = clock_timestamp() WHERE id = ANY(%s) AND state = 'pending'"
_HEALTH: Final = """
UPDATE webhook_endpoints SET failures = %(failures)s, failing_since_at = %(failing_since)s,
    held_until_at = %(held_until)s, enabled = enabled AND %(reason)s::text IS NULL,
    disabled_because = CASE WHEN enabled THEN %(reason)s ELSE disabled_because END,
    disabled_at = CASE WHEN enabled AND %(reason)s::text IS NOT NULL THEN now() ELSE disabled_at END
WHERE id = %(id)s
"""

# What the trigger records when somebody sets the status, where nobody does; the same `once` makes it one event. A row
# that somebody changes is skipped: waiting for its `once` while holding others could deadlock with the school's update.
_EXPIRE: Final = """
INSERT INTO events (type, key, payload, once)
SELECT 'subscription.expired', id, jsonb_build_object('subscription_id', id, 'user_id', user_id,
    'chapter_id', chapter_id, 'status', status, 'ends_at', ends_at),
    format('subscription.expired:%%s:%%s', id, extract(epoch FROM ends_at)::text)
FROM subscriptions WHERE status = 'active' AND ends_at <= now() AND ends_at > now() - make_interval(secs => %s)
    AND NOT EXISTS (SELECT FROM events WHERE once = format('subscription.expired:%%s:%%s', subscriptions.id,
        extract(epoch FROM subscriptions.ends_at)::text))
FOR NO KEY UPDATE SKIP LOCKED
ON CONFLICT (once) DO NOTHING
"""
_PRUNE: Final = """
DELETE FROM events WHERE id = ANY(ARRAY(
    SELECT id FROM events WHERE occurred_at < now() - make_interval(secs => %s) AND fanned_out_at IS NOT NULL
        AND NOT EXISTS (SELECT FROM webhook_deliveries AS delivery
            JOIN webhook_endpoints AS endpoint ON endpoint.id = delivery.endpoint_id
            WHERE delivery.event_id = events.id AND delivery.state = 'pending' AND endpoint.enabled)
    ORDER BY occurred_at LIMIT {limit}))
""".replace("{limit}", _LIMIT)
PRUNE: Final = 1000
#: Ends of terms that long ago are recorded too, after an outage of the worker.
EXPIRED_SECONDS: Final = 7 * 86_400.0

_COUNTS: Final = """
SELECT (SELECT count(*) FROM webhook_endpoints WHERE enabled AND failures = 0) AS healthy,
    (SELECT count(*) FROM webhook_endpoints WHERE enabled AND failures > 0) AS failing,
    (SELECT count(*) FROM webhook_endpoints WHERE NOT enabled) AS disabled,
    (SELECT count(*) FROM webhook_deliveries AS delivery JOIN webhook_endpoints AS endpoint
        ON endpoint.id = delivery.endpoint_id WHERE delivery.state = 'pending' AND endpoint.enabled) AS waiting,
    greatest(0, extract(epoch FROM now() - least(
        (SELECT occurred_at FROM events WHERE fanned_out_at IS NULL ORDER BY id LIMIT 1),
        (SELECT min(delivery.began_at) FROM webhook_endpoints AS endpoint CROSS JOIN LATERAL (
            SELECT began_at FROM webhook_deliveries WHERE endpoint_id = endpoint.id AND state = 'pending'
                AND attempts = 0 ORDER BY due_at, id LIMIT 1) AS delivery
         WHERE endpoint.enabled AND endpoint.failures = 0)))) AS oldest_seconds
"""


class Counts(NamedTuple):
    """Endpoints by state, deliveries that wait, and the age of the oldest that nobody has tried."""

    healthy: int
    failing: int
    disabled: int
    waiting: int
    oldest_seconds: float


class PostgresDeliveries:
    """Implements `DeliveryStore`, and what the worker's threads do."""

    def __init__(self, engine: Engine, *, publishes: bool = True) -> None:
        self._engine = engine
        self._publishes = publishes

    def fan_out(self) -> int:
        """Make the deliveries of events that have none yet, and return how many events those are."""
        with self._engine.begin() as connection:
            if not connection.exec_driver_sql("SELECT pg_try_advisory_xact_lock(%s)", (_LOCK,)).scalar_one():
                return 0
            values = (FAN_OUT, GATEWAY, EVENTS_EXCHANGE, self._publishes)
            found = connection.exec_driver_sql(_FAN_OUT, values).one()
            if not found.taken:
                return 0
            _enqueue(connection, found.endpoints)
            failpoint("events.before_fan_out_commit")
        return int(found.taken)

    def enqueue(self, endpoint_ids: Sequence[int]) -> None:
        with self._engine.begin() as connection:
            _enqueue(connection, endpoint_ids)

    def enqueue_due(self) -> int:
        """Enqueue a message for each endpoint that has something due and no message; returns how many."""
        with self._engine.begin() as connection:
            due = connection.exec_driver_sql(_DUE_ENDPOINTS).scalars().all()
            return _enqueue(connection, due) if due else 0

    def claim(self, endpoint_id: int, limit: int) -> Batch | None:
        with self._engine.begin() as connection:
            values = (endpoint_id, endpoint_id, endpoint_id, limit, LEASE_SECONDS)
            rows = connection.exec_driver_sql(f"{_TAKE_MESSAGE};{_CLAIM}", values).all()
        if not rows:
            return None
        first = rows[0]
        keys = [secret for secret in (first.secret, first.previous_secret) if secret]
        endpoint = Endpoint(first.endpoint_id, first.url, keys, first.failures, first.failing_since_at)
        deliveries = [
            Delivery(row.id, row.event_id, row.attempts, row.began_at, row.occurred_at, row.envelope) for row in rows
        ]
        return Batch(endpoint, deliveries)

    def record(
        self, endpoint_id: int, attempts: Sequence[Attempt], unsent: Sequence[int], health: EndpointHealth | None
    ) -> None:
        attempts_done = [
            {"id": one.delivery_id, "state": one.state, "due_at": one.due_at, "entry": one.entry} for one in attempts
        ]
        with self._engine.begin() as connection:
            connection.exec_driver_sql(_RECORD, (json.dumps(attempts_done, default=datetime.isoformat),))
            if unsent:
                connection.exec_driver_sql(_GIVE_BACK, (list(unsent),))
            if health is not None:
                changed: dict[str, Any] = {
                    "id": endpoint_id,
                    "failures": health.failures,
                    "failing_since": health.failing_since,
                    "held_until": health.held_until,
                    "reason": health.disabled_because,
                }
                connection.exec_driver_sql(_HEALTH, changed)

    def record_expired_terms(self, keep_seconds: float = EXPIRED_SECONDS) -> int:
        """Record the end of terms that nobody has set to expired; returns how many.

        Not of terms that ended more than `keep_seconds` ago: their event is removed already.
        """
        with self._engine.begin() as connection:
            values = (min(keep_seconds, EXPIRED_SECONDS),)
            return int(connection.exec_driver_sql(_EXPIRE, values).rowcount)

    def prune(self, keep_seconds: float) -> bool:
        """Remove a batch of old events with their deliveries; returns whether there may be more."""
        with self._engine.begin() as connection:
            return connection.exec_driver_sql(_PRUNE, (keep_seconds, PRUNE)).rowcount > 0

    def counts(self) -> Counts:
        with self._engine.connect() as connection:
            found = connection.exec_driver_sql(_COUNTS).one()
        oldest = float(found.oldest_seconds or 0)
        return Counts(found.healthy, found.failing, found.disabled, found.waiting, oldest)


def _enqueue(connection: Connection, endpoint_ids: Sequence[int]) -> int:
    """One message for each of these endpoints that is to have one; returns how many."""
    ids = connection.exec_driver_sql(_ENQUEUE, (list(endpoint_ids), MESSAGE_LOST_SECONDS)).scalars().all()
    for endpoint_id in ids:
        outbox.enqueue(connection, GATEWAY, DeliverEvents(endpoint_id=endpoint_id))
    return len(ids)
