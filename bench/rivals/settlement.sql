-- What a settlement asks of PostgreSQL for a paid event, statement by statement, for pgbench to send as fast as it can.
\set student random(1, :students)
SELECT nextval('bench_event') AS event \gset
SELECT id, provider, method, headers, body, received_at, attempts FROM webhook_events WHERE id = :event AND state = 'received';
BEGIN;
SELECT state FROM webhook_events WHERE id = :event FOR UPDATE;
SELECT * FROM payments WHERE provider = 'generic' AND provider_reference = 'tr_' || :event FOR NO KEY UPDATE;
INSERT INTO payments (provider, provider_reference, user_id, amount_minor, currency)
    VALUES ('generic', 'tr_' || :event, :student, 250000, 'DZD') ON CONFLICT DO NOTHING;
SELECT id AS payment FROM payments WHERE provider = 'generic' AND provider_reference = 'tr_' || :event FOR NO KEY UPDATE \gset
SELECT id FROM users WHERE id = :student;
INSERT INTO ledger_transactions (kind, event_id, payment_id) VALUES ('payment', :event, :payment) RETURNING id AS booking \gset
SELECT id AS clearing FROM ledger_accounts WHERE kind = 'psp_clearing' AND provider = 'generic' \gset
SELECT id AS wallet FROM ledger_accounts WHERE kind = 'user_wallet' AND user_id = :student \gset
INSERT INTO ledger_entries (transaction_id, account_id, amount_minor, currency)
    VALUES (:booking, :clearing, -250000, 'DZD'), (:booking, :wallet, 250000, 'DZD');
UPDATE users SET balance_minor = balance_minor + 250000 WHERE id = :student;
SELECT balance_minor FROM users WHERE id = :student FOR NO KEY UPDATE;
SELECT id, amount_minor FROM subscriptions WHERE user_id = :student AND status = 'pending_payment' ORDER BY created_at, id FOR UPDATE;
UPDATE payments SET status = 'completed', credited_minor = 250000, completed_at = now() WHERE id = :payment;
INSERT INTO outbox (service, message) VALUES ('gateway', '{"queue_name": "default", "actor_name": "payments.settled.v1", "args": [], "kwargs": {"payment_id": 1, "day": "2026-01-01"}, "options": {}, "message_id": "00000000-0000-0000-0000-000000000000", "message_timestamp": 0}');
UPDATE webhook_events SET state = 'applied', payment_id = :payment, processed_at = clock_timestamp(), next_attempt_at = NULL WHERE id = :event;
COMMIT;
