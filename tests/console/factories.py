"""Rows that the console has to show: letters, webhooks, and what operators did."""

import json

from tests.webhook_gateway.processes import Database


def bury(database: Database, number: int, queue: str = "webhooks", error: str = "ValueError: no") -> int:
    """A dead letter, as the collector keeps one."""
    body = {
        "queue_name": queue,
        "actor_name": "webhooks.received.v1",
        "args": [],
        "kwargs": {"event_id": number},
        "options": {},
        "message_id": f"m-{number}",
        "message_timestamp": 1,
    }
    database.execute(
        "INSERT INTO dead_letters (queue, message_id, message, actor, cause, error, attempts, died_at, death)"
        " VALUES (%s, %s, %s, %s, 'retries', %s, 3, now(), '')",
        queue,
        f"m-{number}",
        json.dumps(body).encode(),
        body["actor_name"],
        error,
    )
    return int(database.rows("SELECT max(id) FROM dead_letters")[0][0])


def bury_nonsense(database: Database, count: int) -> None:
    """So many dead letters whose body is no message."""
    database.execute(
        "INSERT INTO dead_letters (queue, message_id, message, cause, error, attempts, died_at, death)"
        " SELECT 'webhooks', 'nonsense-' || n, 'nonsense', 'undecodable', 'The body is not a message.', 1, now(), ''"
        " FROM generate_series(1, %s) AS n",
        count,
    )


def keep_event(database: Database, state: str, reason: str | None = None) -> int:
    """A webhook in the inbox."""
    database.execute(
        "INSERT INTO webhook_events (provider, dedupe_key, state, reason, body, body_sha256, received_at)"
        " VALUES ('generic', 'key', %s, %s, '{}', sha256('{}'), now() - interval '3 minutes')",
        state,
        reason,
    )
    return int(database.rows("SELECT max(id) FROM webhook_events")[0][0])


def finish_lesson(database: Database, warnings: list[dict[str, str]] | None) -> None:
    """A completed job with these warnings."""
    database.execute(
        "WITH course AS (INSERT INTO courses DEFAULT VALUES RETURNING id)"
        " INSERT INTO transcode_jobs (course_id, source_key, source_etag, source_bytes, uploaded_at, state,"
        " finished_at, warnings) SELECT id, 'uploads/1', 'e', 1000000, now(), 'completed', now(), %s FROM course",
        None if warnings is None else json.dumps(warnings),
    )


def acts(database: Database) -> list[tuple[object, ...]]:
    return database.rows("SELECT who, what, why, ids FROM operator_acts ORDER BY id")


#: A student who paid 2,500.00 (reference pi_1, order CMD0000004), was given 100.00 back, and has a second payment that
#: waits for a person; of three subscriptions one is paid, one is too dear, and one has ended.
_SCHOOL = """
INSERT INTO users (id, email, balance_minor) VALUES (7, 'Amina@school.example', 40000), (8, 'other@school.example', 0);
INSERT INTO subscriptions (id, user_id, amount_minor, status, created_at, activated_at, ends_at) VALUES
    (1, 7, 200000, 'active', now() - interval '3 days', now(), now() + interval '30 days'),
    (2, 7, 300000, 'pending_payment', now() - interval '1 day', NULL, NULL),
    (3, 7, 100000, 'expired', now(), NULL, '2026-01-31 12:00+00');
INSERT INTO payments (id, provider, provider_reference, order_number, user_id, amount_minor, status, credited_minor,
    refunded_minor, fee_minor, completed_at, created_at) OVERRIDING SYSTEM VALUE VALUES
    (1, 'stripe', 'pi_1', 'CMD0000004', 7, 250000, 'partially_refunded', 240000, 10000, 6300, now(), now()),
    (2, 'stripe', 'pi_2', 'CMD0000005', 7, 260000, 'pending', 0, 0, NULL, NULL, now());
INSERT INTO payment_objects (payment_id, kind, object_id, state, amount_minor, began_at) VALUES
    (1, 'refund', 're_1', 'pending', 10000, now()), (1, 'fee', 'txn_1', 'payment', 6300, NULL);
INSERT INTO webhook_events (id, provider, dedupe_key, reference, state, reason, payment_id, body, body_sha256)
    OVERRIDING SYSTEM VALUE VALUES
    (11, 'stripe', 'evt_1', 'pi_1', 'applied', 'payment 1 is completed', 1, '{}', sha256('{}')),
    (12, 'stripe', 'evt_2', 'pi_2', 'quarantined', 'registered 260000 DZD, reported 200000 (minor units)', 2, '{}',
     sha256('{}'));
INSERT INTO ledger_accounts (id, kind, user_id, provider) OVERRIDING SYSTEM VALUE VALUES
    (1, 'user_wallet', 7, NULL), (2, 'psp_clearing', NULL, 'stripe'), (3, 'psp_fees', NULL, 'stripe'),
    (4, 'subscription_revenue', NULL, NULL);
INSERT INTO ledger_transactions (id, kind, event_id, payment_id, subscription_id, created_at) OVERRIDING SYSTEM VALUE
    VALUES (1, 'payment', 11, 1, NULL, '2026-11-01 10:00+00'), (2, 'activation', NULL, NULL, 1, '2026-11-02 10:00+00'),
    (3, 'refund', NULL, 1, NULL, '2026-11-03 10:00+00');
INSERT INTO ledger_entries (transaction_id, account_id, amount_minor, currency) VALUES
    (1, 1, 250000, 'DZD'), (1, 2, -243700, 'DZD'), (1, 3, -6300, 'DZD'),
    (2, 1, -200000, 'DZD'), (2, 4, 200000, 'DZD'), (3, 1, -10000, 'DZD'), (3, 2, 10000, 'DZD');
SELECT setval(pg_get_serial_sequence(name, 'id'), 100) FROM unnest(ARRAY['payments', 'webhook_events',
    'ledger_accounts', 'ledger_transactions']) AS name;
INSERT INTO webhook_endpoints (id, url, description, secret, failures, failing_since_at) OVERRIDING SYSTEM VALUE VALUES
    (3, 'https://school.example/a/long/address/of/the/program/that/gets/events/of/nouba', 'the website', 'whsec_hidden',
     2, now());
WITH given AS (
    INSERT INTO events (type, key, payload, fanned_out_at) SELECT kind, 1, '{}', now()
    FROM unnest(ARRAY['payment.completed', 'payment.refunded', 'lesson.ready']) AS kind RETURNING id, type)
INSERT INTO webhook_deliveries (endpoint_id, event_id, key, state, attempts, log)
SELECT 3, id, 'payment:1', CASE type WHEN 'lesson.ready' THEN 'pending' WHEN 'payment.refunded' THEN 'failed' ELSE
    'delivered' END, 2, '[{"at": "2026-11-03T10:00:00.123+00:00", "error": "The connection was refused.",
    "milliseconds": 3}, {"at": "2026-11-03T10:00:05.123+00:00", "status": 204, "milliseconds": 12}]' FROM given;
"""


def open_school(database: Database) -> None:
    """A student's money, as settlement leaves it."""
    database.execute(_SCHOOL.replace("%", "%%"))
