"""The inbox in PostgreSQL: one statement stores concurrent webhooks and enqueues their messages."""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from services.webhook_gateway.inbox.accept import InsertResult, WebhookEvent
from shared.contracts.routes import GATEWAY
from shared.contracts.webhooks import EventState, WebhookReceived, WebhooksReceived
from shared.messaging.actors import encode_message
from shared.runtime.batcher import Batcher
from shared.runtime.database import connect_within, fetch_all

#: An event that was not settled by then is tried again, even if its message was lost with the broker's disk.
SETTLED_WITHIN = "15 minutes"
#: How long one attempt at the database may take, whatever happens there.
MAX_SECONDS = 5.5
#: A connection that broke this soon was an old one; later, the database is in trouble, and is not asked twice.
FIRST_TRY_SECONDS = 0.5
#: Webhooks of one statement; with the largest bodies that is 16 MiB.
MAX_BATCH = 64

# One statement is one transaction, one round trip, one wait for the disk and one message, which is a template with the
# new rows' ids in it. A row that takes long to settle is alone in its message: the others would wait for it.
_PREPARE = """
PREPARE keep_webhooks AS
WITH news AS (
    SELECT * FROM unnest(
        $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bytea[], $8::bytea[], $9::text[],
        $10::boolean[], $11::smallint[], $12::timestamptz[], $13::boolean[]
    ) AS news (provider, dedupe_key, state, reason, method, headers, body, body_sha256, reference, signed, secret,
               received_at, alone)
), event AS (
    INSERT INTO webhook_events
        (provider, dedupe_key, state, reason, method, headers, body, body_sha256, reference, signed, secret,
         received_at, drained_at, next_attempt_at, processed_at)
    SELECT
        provider, dedupe_key, state, reason, method, headers::jsonb, body, body_sha256, reference, signed, secret,
        coalesce(received_at, now()), CASE WHEN received_at IS NOT NULL THEN now() END,
        CASE WHEN state = 'received' THEN now() + $14::interval END,
        CASE WHEN state <> 'received' THEN now() END
    FROM news
    ON CONFLICT (provider, dedupe_key) DO NOTHING
    RETURNING id, provider, dedupe_key, state
), enqueued AS (
    INSERT INTO outbox (service, message)
    SELECT $15::text, jsonb_set(
        CASE WHEN count(DISTINCT event.id) = 1
            THEN jsonb_set($16::jsonb, '{kwargs,event_id}', to_jsonb(min(event.id)))
            ELSE jsonb_set($17::jsonb, '{kwargs,event_ids}', jsonb_agg(DISTINCT event.id ORDER BY event.id))
        END, '{message_id}', to_jsonb(gen_random_uuid()::text))
    FROM event JOIN news USING (provider, dedupe_key) WHERE event.state = 'received'
    GROUP BY CASE WHEN alone THEN event.id END
)
SELECT id, provider, dedupe_key FROM event
"""
_KEEP = """
EXECUTE keep_webhooks(
    %(provider)s::text[], %(dedupe_key)s::text[], %(state)s::text[], %(reason)s::text[], %(method)s::text[],
    %(headers)s::text[], %(body)s::bytea[], %(body_sha256)s::bytea[], %(reference)s::text[], %(signed)s::boolean[],
    %(secret)s::smallint[], %(received_at)s::timestamptz[], %(alone)s::boolean[],
    %(settled_within)s::interval, %(service)s, %(message)s::jsonb, %(several)s::jsonb)
"""
#: What a connection is marked with that has prepared the statement: to plan it takes longer than to keep a webhook.
_IS_PREPARED = "webhooks are kept by a prepared statement"

_FIND = """
SELECT id, provider, dedupe_key, body_sha256, headers ->> 'api-version' AS api_version FROM webhook_events
WHERE (provider, dedupe_key) IN (SELECT * FROM unnest(%(provider)s::text[], %(dedupe_key)s::text[]))
"""

# An order that is being asked about is not asked about twice: the open question is due now instead.
_OPEN_QUESTIONS = """
WITH hint AS (
    SELECT DISTINCT * FROM unnest(%(provider)s::text[], %(reference)s::text[]) AS hint (provider, reference)
), question AS (
    SELECT DISTINCT ON (event.provider, event.reference) event.id, event.provider, event.reference
    FROM hint JOIN webhook_events event ON event.provider = hint.provider AND event.reference = hint.reference
    WHERE event.state = 'received' AND NOT event.signed
    ORDER BY event.provider, event.reference, event.id
), enqueued AS (
    INSERT INTO outbox (service, message)
    SELECT %(service)s, jsonb_set(
        jsonb_set(%(message)s::jsonb, '{kwargs,event_id}', to_jsonb(id)),
        '{message_id}', to_jsonb(gen_random_uuid()::text)) FROM question
)
SELECT id, provider, reference FROM question
"""

#: Messages without their ids, which the statements fill in; to encode them takes longer than to send them.
_ONE, _SEVERAL = encode_message(WebhookReceived(event_id=0)), encode_message(WebhooksReceived(event_ids=()))


class PostgresInbox:
    """Implements `Inbox`. `engine` has to commit by itself (isolation level AUTOCOMMIT)."""

    def __init__(self, engine: Engine, longest_seconds: float = MAX_SECONDS) -> None:
        self._engine = engine
        self._longest_seconds = longest_seconds
        self._batcher = Batcher(self._keep_all, MAX_BATCH)

    def keep(self, entry: WebhookEvent) -> InsertResult:
        return self._batcher(entry)

    def _keep_all(self, entries: Sequence[WebhookEvent]) -> Sequence[InsertResult | BaseException]:
        try:
            return self._try_twice(entries)
        except (DataError, IntegrityError) as error:
            if len(entries) == 1:
                return [error]
            # none of the others is refused for what one of them holds
            return [outcome for entry in entries for outcome in self._keep_all([entry])]

    def _try_twice(self, entries: Sequence[WebhookEvent]) -> Sequence[InsertResult]:
        started = time.monotonic()
        try:
            return self._try(entries)
        except DBAPIError as error:
            was_restarted = error.connection_invalidated and time.monotonic() - started <= FIRST_TRY_SECONDS
            if not was_restarted and not is_deadlock(error):
                raise
            # The server was restarted and the pool held its old connections, or the drain kept the same events in
            # another order; asking twice keeps once.
            return self._try(entries)

    def _try(self, entries: Sequence[WebhookEvent]) -> Sequence[InsertResult]:
        # In one order everywhere: two batches with the same two keys would otherwise wait for each other.
        places = sorted(range(len(entries)), key=lambda place: _key(entries[place]))
        with connect_within(self._engine, self._longest_seconds) as connection:
            kept = ConnectionInbox(connection).keep_all([entries[place] for place in places])
        return [one for _, one in sorted(zip(places, kept, strict=True), key=lambda pair: pair[0])]


class ConnectionInbox:
    """Implements `InboxOfMany` on one connection: what is kept is durable when that commits."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def keep(self, entry: WebhookEvent) -> InsertResult:
        (kept,) = self.keep_all([entry])
        return kept

    def keep_all(self, entries: Sequence[WebhookEvent]) -> Sequence[InsertResult]:
        """The rows' ids have the order of `entries`."""
        asked = self._open_questions([entry for entry in entries if _is_hint(entry)])
        if not asked:
            return self._keep_all(entries)
        rest = iter(self._keep_all([entry for entry in entries if _question(entry) not in asked]))
        return [
            InsertResult(asked[question], False, entry.body_sha256) if question in asked else next(rest)
            for entry in entries
            for question in [_question(entry)]
        ]

    def _keep_all(self, entries: Sequence[WebhookEvent]) -> Sequence[InsertResult]:
        if not entries:
            return []
        self._prepare()
        rows = fetch_all(self._connection, _KEEP, _values(entries))
        new = {(row.provider, row.dedupe_key): int(row.id) for row in rows}
        first = [new.pop(_key(entry), None) for entry in entries]
        # The first statement cannot see a row that was committed while it waited for it; the second can.
        known = self._find([entry for entry, new_id in zip(entries, first, strict=True) if new_id is None])
        return [
            known[_key(entry)] if new_id is None else InsertResult(new_id, True, entry.body_sha256)
            for entry, new_id in zip(entries, first, strict=True)
        ]

    def _prepare(self) -> None:
        if _IS_PREPARED in self._connection.info:
            return
        try:
            fetch_all(self._connection, _PREPARE, ())
            self._connection.info[_IS_PREPARED] = True
        except BaseException:
            # it may know the statement, and must not get it again
            self._connection.invalidate()
            raise

    def _open_questions(self, hints: Sequence[WebhookEvent]) -> dict[tuple[str, str | None] | None, int]:
        if not hints:
            return {}
        values = {
            "provider": [hint.provider for hint in hints],
            "reference": [hint.reference for hint in hints],
            "service": GATEWAY,
            "message": _stamped(_ONE),
        }
        rows = fetch_all(self._connection, _OPEN_QUESTIONS, values)
        return {(row.provider, row.reference): row.id for row in rows}

    def _find(self, entries: Sequence[WebhookEvent]) -> dict[tuple[str, str], InsertResult]:
        if not entries:
            return {}
        keys = {
            "provider": [entry.provider for entry in entries],
            "dedupe_key": [entry.dedupe_key for entry in entries],
        }
        rows = fetch_all(self._connection, _FIND, keys)
        return {
            (row.provider, row.dedupe_key): InsertResult(row.id, False, bytes(row.body_sha256), row.api_version)
            for row in rows
        }


def is_deadlock(error: DBAPIError) -> bool:
    """Whether PostgreSQL chose this transaction of two that waited for each other."""
    return getattr(error.orig, "pgcode", None) == "40P01"


def _key(entry: WebhookEvent) -> tuple[str, str]:
    return entry.provider, entry.dedupe_key


def _is_hint(entry: WebhookEvent) -> bool:
    return not entry.proof.signed and entry.state is EventState.RECEIVED and entry.reference is not None


def _question(entry: WebhookEvent) -> tuple[str, str | None] | None:
    return (entry.provider, entry.reference) if _is_hint(entry) else None


def _stamped(message: Mapping[str, Any]) -> str:
    return json.dumps({**message, "message_timestamp": int(time.time() * 1000)})


def _values(entries: Sequence[WebhookEvent]) -> dict[str, Any]:
    return {
        "provider": [entry.provider for entry in entries],
        "dedupe_key": [entry.dedupe_key for entry in entries],
        "state": [entry.state.value for entry in entries],
        "reason": [entry.reason for entry in entries],
        "method": [entry.request.method for entry in entries],
        "headers": [json.dumps(dict(entry.request.headers)) for entry in entries],
        "body": [entry.request.body for entry in entries],
        "body_sha256": [entry.body_sha256 for entry in entries],
        "reference": [entry.reference for entry in entries],
        "signed": [entry.proof.signed for entry in entries],
        "secret": [entry.proof.secret for entry in entries],
        "received_at": [entry.received_at for entry in entries],
        "alone": [entry.is_hint or entry.received_at is not None for entry in entries],
        "service": GATEWAY,
        "settled_within": SETTLED_WITHIN,
        "message": _stamped(_ONE),
        "several": _stamped(_SEVERAL),
    }
