"""A page of an endpoint's deliveries reads its own, however many other endpoints have had since."""

import contextlib
import json

import psycopg2
import pytest
from sqlalchemy import event

from shared.operations.webhook_endpoints.endpoints import Endpoints
from shared.runtime.database import build_engine

WRITTEN = """
INSERT INTO webhook_endpoints (url, secret) SELECT 'https://school.example/' || i, 's' FROM generate_series(1, 2) AS i;
INSERT INTO events (type, key, payload)
SELECT 'payment.completed', 'payment:' || i, '{}' FROM generate_series(1, 6000) AS i;
INSERT INTO webhook_deliveries (endpoint_id, event_id, key, state)
SELECT CASE WHEN id <= 3000 THEN 1 ELSE 2 END, id, key, 'delivered' FROM events ORDER BY id;
ANALYZE;
"""


@pytest.mark.parametrize("before_id", [None, 2000])
def test_an_endpoint_that_was_paused_for_long_is_not_searched_among_the_others(
    database_url: str, before_id: int | None
) -> None:
    with contextlib.closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
        cursor.execute(WRITTEN)
        connection.commit()
        engine, sent = build_engine(database_url), []
        event.listen(
            engine, "before_cursor_execute", lambda _c, _u, statement, given, *_: sent.append((statement, given))
        )

        page = Endpoints(engine, allow_private=False).deliveries(1, before_id=before_id, limit=50)
        engine.dispose()

        ((statement, given),) = [(text, values) for text, values in sent if "LIMIT" in text]
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", given)
        (plan,) = cursor.fetchone() or ("",)
    assert [one.event_id for one in page] == [f"evt_{number}" for number in range((before_id or 3001) - 1, 0, -1)][:50]
    assert "Rows Removed by Filter" not in json.dumps(plan)
