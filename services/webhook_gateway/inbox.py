"""The inbox in PostgreSQL: one statement keeps a webhook and promises its message."""

import json
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from services.webhook_gateway.intake import Entry, Kept
from services.webhook_gateway.payments.books import State
from services.webhook_gateway.payments.sql_books import SERVICE
from shared.contracts.webhooks import WebhookReceived
from shared.runtime.messaging import envelope

#: An event that was not settled by then is tried again, even if its message was lost with the broker's disk.
SETTLED_WITHIN = "15 minutes"

# One statement is one transaction and one round trip. The message is the template with the new row's id in it.
_KEEP = """
WITH event AS (
    INSERT INTO webhook_events
        (provider, dedupe_key, state, reason, method, headers, body, body_sha256, reference, signed, secret,
         next_attempt_at, processed_at)
    VALUES
        (%(provider)s, %(dedupe_key)s, %(state)s, %(reason)s, %(method)s, %(headers)s::jsonb, %(body)s,
         %(body_sha256)s, %(reference)s, %(signed)s, %(secret)s,
         CASE WHEN %(waits)s THEN now() + %(settled_within)s::interval END, CASE WHEN NOT %(waits)s THEN now() END)
    ON CONFLICT (provider, dedupe_key) DO NOTHING
    RETURNING id
), promise AS (
    INSERT INTO outbox (service, message)
    SELECT %(service)s, jsonb_set(%(message)s::jsonb, '{kwargs,event_id}', to_jsonb(id)) FROM event WHERE %(waits)s
)
SELECT id FROM event
"""

_FIND = "SELECT id, body_sha256 FROM webhook_events WHERE provider = %(provider)s AND dedupe_key = %(dedupe_key)s"


class SqlInbox:
    """Implements `Inbox`. `engine` has to commit by itself (isolation level AUTOCOMMIT)."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def keep(self, entry: Entry) -> Kept:
        values = _values(entry)
        try:
            return self._keep(values)
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
            # The server was restarted and the pool held its old connections; asking twice keeps once.
            return self._keep(values)

    def _keep(self, values: dict[str, Any]) -> Kept:
        with self._engine.connect() as connection:
            if row := connection.exec_driver_sql(_KEEP, values).first():
                return Kept(row.id, True, values["body_sha256"])
            # The first statement cannot see a row that was committed while it waited for it; the second can.
            row = connection.exec_driver_sql(_FIND, values).one()
            return Kept(row.id, False, bytes(row.body_sha256))


def _values(entry: Entry) -> dict[str, Any]:
    return {
        "provider": entry.provider,
        "dedupe_key": entry.dedupe_key,
        "state": entry.state,
        "reason": entry.reason,
        "method": entry.request.method,
        "headers": json.dumps(dict(entry.request.headers)),
        "body": entry.request.body,
        "body_sha256": entry.body_sha256,
        "reference": entry.reference,
        "signed": entry.proof.signed,
        "secret": entry.proof.secret,
        "service": SERVICE,
        "settled_within": SETTLED_WITHIN,
        "waits": entry.state is State.RECEIVED,
        "message": json.dumps(envelope(WebhookReceived(event_id=0))),
    }
