"""A payment's page finds its undecided events by their order, however many others were ever quarantined."""

import contextlib
import json

import psycopg2
from sqlalchemy import event

from shared.operations.payments.queries import show_payment
from shared.runtime.database import build_engine

WRITTEN = """
INSERT INTO users (id) OVERRIDING SYSTEM VALUE VALUES (1);
INSERT INTO payments (id, provider, provider_reference, user_id, amount_minor)
OVERRIDING SYSTEM VALUE VALUES (1, 'generic', 'order-1', 1, 100);
INSERT INTO webhook_events (provider, dedupe_key, body, body_sha256, state, reference, resolution)
SELECT 'generic', 'e' || i, '', '', 'quarantined', 'order-' || i, CASE WHEN i > 100 THEN 'dismissed' END
FROM generate_series(1, 20000) AS i;
ANALYZE;
"""


def test_a_payments_page_reads_no_event_that_was_decided(database_url: str) -> None:
    with contextlib.closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
        cursor.execute(WRITTEN)
        connection.commit()
        engine, sent = build_engine(database_url), []
        event.listen(
            engine, "before_cursor_execute", lambda _c, _u, statement, given, *_: sent.append((statement, given))
        )

        details = show_payment(engine, 1)
        engine.dispose()

        ((statement, given),) = [(text, values) for text, values in sent if "UNION SELECT id FROM webhook" in text]
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", given)
        (plan,) = cursor.fetchone() or ("",)
    assert details is not None
    assert len(details.events) == 1
    assert "ix_webhook_events_undecided_reference" in json.dumps(plan)
