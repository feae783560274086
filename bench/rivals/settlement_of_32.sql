-- The rows of settlement.sql for 32 events in one transaction, each table written once: the limit of PostgreSQL.
SELECT 32 * nextval('bench_event') AS last, 32 * currval('bench_event') - 31 AS first \gset
SELECT id, provider, method, headers, body, received_at, attempts FROM webhook_events WHERE id BETWEEN :first AND :last AND state = 'received';
BEGIN;
SELECT state FROM webhook_events WHERE id BETWEEN :first AND :last ORDER BY id FOR UPDATE;
SELECT balance_minor FROM users WHERE id IN (SELECT 1 + id % :students FROM generate_series(:first::bigint, :last::bigint) AS id) ORDER BY id FOR NO KEY UPDATE;
SELECT id, amount_minor FROM subscriptions WHERE user_id IN (SELECT 1 + id % :students FROM generate_series(:first::bigint, :last::bigint) AS id) AND status = 'pending_payment' ORDER BY created_at, id FOR UPDATE;
WITH payment AS (
    INSERT INTO payments (provider, provider_reference, user_id, amount_minor, currency, status, credited_minor, completed_at)
    SELECT 'generic', 'tr_' || id, 1 + id % :students, 250000, 'DZD', 'completed', 250000, now() FROM generate_series(:first::bigint, :last::bigint) AS id
    RETURNING id, user_id, substr(provider_reference, 4)::bigint AS event_id
), booked AS (
    INSERT INTO ledger_transactions (kind, event_id, payment_id) SELECT 'payment', event_id, id FROM payment
    RETURNING id, payment_id
), entries AS (
    INSERT INTO ledger_entries (transaction_id, account_id, amount_minor, currency)
    SELECT booked.id, account.id, CASE account.kind WHEN 'user_wallet' THEN 250000 ELSE -250000 END, 'DZD'
    FROM booked JOIN payment ON payment.id = booked.payment_id
    JOIN ledger_accounts AS account ON (account.kind = 'user_wallet' AND account.user_id = payment.user_id)
        OR (account.kind = 'psp_clearing' AND account.provider = 'generic')
), balances AS (
    UPDATE users SET balance_minor = balance_minor + paid.amount_minor
    FROM (SELECT user_id, 250000 * count(*) AS amount_minor FROM payment GROUP BY user_id) AS paid WHERE users.id = paid.user_id
)
UPDATE webhook_events SET state = 'applied', payment_id = payment.id, processed_at = clock_timestamp(), next_attempt_at = NULL
FROM payment WHERE webhook_events.id = payment.event_id;
INSERT INTO outbox (service, message) VALUES ('gateway', '{"queue_name": "default", "actor_name": "payments.settled.v2", "args": [], "kwargs": {"payment_ids": [1], "days": ["2026-01-01"]}, "options": {}, "message_id": "00000000-0000-0000-0000-000000000000", "message_timestamp": 0}');
COMMIT;
