-- One role a service, with the rights of its row in the table of writers and no more. Applied after every migration,
-- any number of times: psql --single-transaction --file roles.sql
\set ON_ERROR_STOP on
\set intake_password `cat /run/secrets/migrate/intake_password`
\set gateway_password `cat /run/secrets/migrate/gateway_password`
\set transcoder_password `cat /run/secrets/migrate/transcoder_password`
\set stats_password `cat /run/secrets/migrate/stats_password`
\set playback_password `cat /run/secrets/migrate/playback_password`
\set console_password `cat /run/secrets/migrate/console_password`
\set school_password `cat /run/secrets/migrate/school_password`

-- the text of a statement with a password in it is for no log
SET LOCAL log_statement = 'none';
SET LOCAL log_min_error_statement = 'panic';

SELECT format('CREATE ROLE %I LOGIN', name)
FROM unnest(ARRAY['nouba_intake', 'nouba_gateway', 'nouba_transcoder', 'nouba_stats', 'nouba_console', 'nouba_playback',
    'nouba_school']) AS name
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec
ALTER ROLE nouba_intake PASSWORD :'intake_password';
ALTER ROLE nouba_gateway PASSWORD :'gateway_password';
ALTER ROLE nouba_transcoder PASSWORD :'transcoder_password';
ALTER ROLE nouba_stats PASSWORD :'stats_password';
ALTER ROLE nouba_console PASSWORD :'console_password';
ALTER ROLE nouba_playback PASSWORD :'playback_password';
ALTER ROLE nouba_school PASSWORD :'school_password';

-- begin from nothing, so that a right that leaves this file is gone
REVOKE ALL ON SCHEMA public FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC, nouba_intake, nouba_gateway, nouba_transcoder, nouba_stats,
    nouba_console, nouba_playback, nouba_school;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM PUBLIC, nouba_intake, nouba_gateway, nouba_transcoder, nouba_stats,
    nouba_console, nouba_playback, nouba_school;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC, nouba_intake, nouba_gateway, nouba_transcoder, nouba_stats,
    nouba_console, nouba_playback, nouba_school;
REVOKE ALL ON DATABASE nouba FROM PUBLIC;
-- the server's other databases: a role would keep bytes there, and what is in template1 is copied into each new one
SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', datname) FROM pg_database
WHERE datname IN ('postgres', 'template1') AND pg_has_role(datdba, 'USAGE') \gexec
-- large objects belong to no table: one who makes one keeps bytes without a right to anything
SELECT format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', oid::regprocedure) FROM pg_proc
WHERE pronamespace = 'pg_catalog'::regnamespace AND (proname LIKE 'lo\_%' OR proname IN ('loread', 'lowrite'))
    AND pg_has_role(proowner, 'USAGE') \gexec
GRANT CONNECT ON DATABASE nouba TO nouba_intake, nouba_gateway, nouba_transcoder, nouba_stats, nouba_console,
    nouba_playback, nouba_school;
GRANT USAGE ON SCHEMA public TO nouba_intake, nouba_gateway, nouba_transcoder, nouba_stats, nouba_console,
    nouba_playback, nouba_school;

-- `nouba doctor` reads which version the tables are of.
GRANT SELECT ON alembic_version TO nouba_intake, nouba_gateway, nouba_transcoder, nouba_stats, nouba_console;

-- Every service writes its own rows of the outbox and sees no others. To lock a row needs the right to change one of
-- its columns.
GRANT SELECT, INSERT, DELETE, UPDATE (created_at) ON outbox TO nouba_intake, nouba_gateway, nouba_transcoder, nouba_stats;
ALTER TABLE outbox ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS own_rows ON outbox;
CREATE POLICY own_rows ON outbox TO nouba_gateway, nouba_transcoder, nouba_stats USING ('nouba_' || service = current_user);
DROP POLICY IF EXISTS intake_rows ON outbox;
CREATE POLICY intake_rows ON outbox TO nouba_intake USING (service = 'gateway');

-- Every service keeps what died in its own queues and sees no others, and obeys the pauses.
GRANT SELECT, INSERT, UPDATE ON dead_letters TO nouba_gateway, nouba_transcoder, nouba_stats;
ALTER TABLE dead_letters ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS own_queues ON dead_letters;
CREATE POLICY own_queues ON dead_letters TO nouba_gateway, nouba_transcoder, nouba_stats USING (
    CASE queue WHEN 'webhooks' THEN 'nouba_gateway' WHEN 'events' THEN 'nouba_gateway' WHEN 'videos' THEN 'nouba_transcoder' WHEN 'default' THEN 'nouba_stats'
    END = current_user);
-- the API shows all of them to a token with the scope, and changes none of another service
DROP POLICY IF EXISTS api_reads_letters ON dead_letters;
CREATE POLICY api_reads_letters ON dead_letters FOR SELECT TO nouba_gateway USING (true);
DROP POLICY IF EXISTS operators_letters ON dead_letters;
CREATE POLICY operators_letters ON dead_letters TO nouba_console USING (true);
GRANT SELECT ON queue_pauses TO nouba_gateway, nouba_transcoder, nouba_stats;

-- Intake, which serves strangers: it adds webhooks to the inbox, finds those that it has and orders that are registered.
-- It reads and changes no body, and touches no payment and no balance.
GRANT INSERT ON webhook_events TO nouba_intake;
GRANT SELECT (id, provider, dedupe_key, headers, body_sha256, reference, state, signed, attempts, received_at,
    drained_at)
    ON webhook_events TO nouba_intake;
GRANT SELECT (provider, provider_reference) ON payments TO nouba_intake;

-- The gateway: settlement and the school's API. What came is never changed, only what became of it; who pays, by whom
-- and in which currency neither.
GRANT SELECT, INSERT, UPDATE (state, reason, payment_id, attempts, tries, taken_up_at, next_attempt_at, processed_at,
    resolution) ON webhook_events TO nouba_gateway;
GRANT SELECT, INSERT, UPDATE (provider_reference, order_number, amount_minor, amount_is_final, status, refunded_minor,
    dispute, credited_minor, fee_minor, method, failure_reason, completed_at, registered_minor, amount_told_at,
    refunded_total_minor, refunded_told_at, refunded_fell_minor, subscription_id, registered_subscription_id, asks,
    asked_at, next_ask_at) ON payments TO nouba_gateway;
GRANT SELECT, INSERT, UPDATE (state, amount_minor, began_at, ended_at, reported_at) ON payment_objects
    TO nouba_gateway;
GRANT SELECT, INSERT ON payment_links TO nouba_gateway;
GRANT SELECT ON kept_subscriptions TO nouba_gateway;
GRANT SELECT, INSERT, UPDATE (state, note, attempts, next_attempt_at, refunded_before_minor, event_id) ON refund_requests
    TO nouba_gateway;
GRANT SELECT, INSERT, UPDATE (transaction_id, booked_at, refusal) ON ledger_adjustments, provider_payouts
    TO nouba_gateway;
GRANT SELECT, INSERT ON ledger_accounts, ledger_transactions, ledger_entries, seals, operator_acts TO nouba_gateway;
-- put in by triggers, with the rights of the tables' owner
GRANT SELECT ON row_versions TO nouba_gateway;
-- what is past its retention is erased by functions, which erase nothing else
GRANT EXECUTE ON FUNCTION erase_webhook_bodies(timestamptz, integer), erase_dead_letters(timestamptz, integer),
    erase_operator_acts(timestamptz, integer), delete_old_statistics(timestamptz, integer),
    forget_lessons(timestamptz, integer) TO nouba_gateway;
GRANT USAGE ON SEQUENCE payments_id_seq, ledger_transactions_id_seq TO nouba_gateway;
GRANT SELECT ON users, subscriptions TO nouba_gateway;
GRANT UPDATE (balance_minor) ON users TO nouba_gateway;
GRANT UPDATE (status, activated_at, ends_at, granted_until) ON subscriptions TO nouba_gateway;
-- an upload that is complete is pending until a transcoder opens its job
GRANT SELECT (id, transcoding_status, video_ref), UPDATE (transcoding_status) ON courses TO nouba_gateway;
GRANT SELECT ON course_keys TO nouba_gateway;
-- how far a lesson is, and what the school asks of it
GRANT SELECT (id, course_id, source_key, state, reason, duration_seconds, warnings, chapters, requested, deleted_at),
    UPDATE (requested) ON transcode_jobs TO nouba_gateway;
GRANT SELECT, INSERT, UPDATE, DELETE ON captions, course_chapters TO nouba_gateway;
-- the API: who may use it, which requests it has answered, and the checkouts that it makes
GRANT SELECT, UPDATE (last_used_at) ON api_tokens TO nouba_gateway;
GRANT SELECT, DELETE, INSERT (token_name, key, request_sha256), UPDATE (request_sha256, begun_at, status, body)
    ON api_idempotency_keys TO nouba_gateway;
GRANT SELECT, INSERT (payment_id, provider, order_number, return_url, token_name),
    UPDATE (payment_id, return_url, token_name, begun_at, provider_checkout_id, redirect_url) ON checkouts TO nouba_gateway;
GRANT SELECT (job_id, kind, state, done_seconds) ON transcode_chunks TO nouba_gateway;

-- events for the school's own programs: triggers write them with the rights of the tables' owner
GRANT SELECT, INSERT, UPDATE (fanned_out_at), DELETE ON events TO nouba_gateway;
GRANT SELECT, INSERT, UPDATE, DELETE ON webhook_endpoints, webhook_deliveries TO nouba_gateway;

-- The transcoder: its jobs and their parts, and what a course shows.
GRANT SELECT, INSERT, UPDATE, DELETE ON transcode_jobs, transcode_chunks TO nouba_transcoder;
GRANT SELECT (id, chapter_id, transcoding_status, video_ref) ON courses TO nouba_transcoder;
GRANT SELECT (id, price_minor) ON chapters TO nouba_transcoder;
GRANT SELECT, INSERT, DELETE ON course_keys TO nouba_transcoder;
GRANT SELECT, INSERT, DELETE ON captions TO nouba_transcoder;
GRANT SELECT ON course_chapters TO nouba_transcoder;
GRANT UPDATE (transcoding_status, video_ref) ON courses TO nouba_transcoder;

-- Playback: the keys of encrypted lessons, for those whose address is signed; who watched which lesson; nothing else.
GRANT SELECT (id, course_id, secret) ON course_keys TO nouba_playback;
GRANT SELECT (viewer, course_id, day, played_ms, parts), INSERT (viewer, course_id, day, played_ms, parts),
    UPDATE (played_ms, parts, last_at) ON lesson_views TO nouba_playback;

-- The console: how everything stands, without names, bodies of webhooks and keys; and what operators decide, whose
-- messages leave through the gateway's outbox.
GRANT SELECT ON dead_letters, queue_pauses, operator_acts, outbox, transcode_jobs, transcode_chunks, daily_stats,
    daily_stats_newest, changed_days, payments, payment_objects, ledger_accounts, ledger_transactions, ledger_entries,
    ledger_adjustments, provider_payouts, refund_requests, subscriptions TO nouba_console;
GRANT INSERT ON refund_requests, provider_payouts TO nouba_console;
-- an e-mail address is searched for, and never shown
GRANT SELECT (id, email, balance_minor) ON users TO nouba_console;
GRANT SELECT (id, provider, reference, state, reason, signed, attempts, resolution, payment_id, received_at, drained_at,
    processed_at, next_attempt_at, body_erased_at), UPDATE (state, attempts, tries, taken_up_at, resolution, processed_at, next_attempt_at)
    ON webhook_events TO nouba_console;
-- without the secrets of endpoints
GRANT SELECT ON events, webhook_deliveries TO nouba_console;
GRANT SELECT (id, url, description, event_types, ordered, enabled, disabled_because, disabled_at, previous_until_at, failures,
    failing_since_at, held_until_at, queued_at, created_at),
    UPDATE (enabled, disabled_because, disabled_at, failures, failing_since_at, held_until_at)
    ON webhook_endpoints TO nouba_console;
-- replays: a delivery of an event that was recorded, and never an event
GRANT INSERT (endpoint_id, event_id, key), UPDATE (state, attempts, due_at, began_at, ended_at)
    ON webhook_deliveries TO nouba_console;
GRANT UPDATE (state, replays, replayed_at, decided_by, decided_why, decided_at) ON dead_letters TO nouba_console;
GRANT INSERT, DELETE ON queue_pauses TO nouba_console;
GRANT INSERT ON operator_acts, outbox TO nouba_console;
GRANT SELECT, INSERT, DELETE ON console_sessions TO nouba_console;
-- `nouba api-tokens`: a token is made and revoked, and what it opens is never changed
GRANT SELECT, INSERT (name, scopes, digest, created_by, expires_at), UPDATE (revoked_at) ON api_tokens TO nouba_console;
-- what operators ask of a lesson, its title, and what is played
GRANT UPDATE (requested) ON transcode_jobs TO nouba_console;
GRANT SELECT (id, title, video_ref) ON courses TO nouba_console;
GRANT SELECT (course_id, language, automatic), DELETE ON captions TO nouba_console;
GRANT SELECT (course_id, chapters), DELETE ON course_chapters TO nouba_console;
DROP POLICY IF EXISTS operators_rows ON outbox;
CREATE POLICY operators_rows ON outbox TO nouba_console USING (true) WITH CHECK (service = 'gateway');

-- The statistics: read the facts, write the days. Of a person they read the name alone, for the page of rows; what a
-- provider sent is not among the facts.
GRANT SELECT ON teachers, chapters, courses, sessions, attendances, subscriptions, payments, ledger_accounts,
    ledger_transactions, ledger_entries, daily_stats, daily_stats_newest, changed_days, late_days,
    subscription_terms, chapter_teachers, transcode_chunks, closed_months, closed_day_corrections,
    office_payments, lesson_views, daily_states TO nouba_stats;
GRANT SELECT (id, name, role, year_of_study, balance_minor, last_login_at, created_at) ON users TO nouba_stats;
GRANT SELECT (id, provider, state, received_at, processed_at, payment_id, attempts, signed) ON webhook_events TO nouba_stats;
GRANT SELECT (id, course_id, state, reason, duration_seconds, source_bytes, uploaded_at, created_at, planned_at,
    first_shown_at, finished_at, stored_bytes) ON transcode_jobs TO nouba_stats;
GRANT SELECT ON dead_letter_times TO nouba_stats;
GRANT INSERT ON daily_stats, closed_months, closed_day_corrections TO nouba_stats;
GRANT INSERT, DELETE ON daily_states TO nouba_stats;
GRANT INSERT, UPDATE ON daily_stats_newest TO nouba_stats;
GRANT INSERT, UPDATE, DELETE ON changed_days TO nouba_stats;
GRANT SELECT, INSERT (day), UPDATE (sent_at) ON mailed_days TO nouba_stats;
-- these, subscription_terms and chapter_teachers are put in by triggers, with the rights of the tables' owner
GRANT DELETE ON late_days TO nouba_stats;

-- The school's own application: everything of its own but the balance and the video, a payment before it is sent to
-- the provider, and what became of it.
GRANT SELECT, INSERT, UPDATE, DELETE ON teachers, chapters, sessions, attendances, subscriptions, office_payments
    TO nouba_school;
GRANT SELECT, DELETE ON users, courses TO nouba_school;
GRANT INSERT (id, name, email, phone, role, year_of_study, last_login_at, created_at),
    UPDATE (name, email, phone, role, year_of_study, last_login_at) ON users TO nouba_school;
GRANT INSERT (id, chapter_id, title, pdf_summary, created_at), UPDATE (chapter_id, title, pdf_summary) ON courses
    TO nouba_school;
GRANT SELECT, INSERT (provider, provider_reference, order_number, user_id, amount_minor, currency,
    subscription_id) ON payments TO nouba_school;
GRANT SELECT (id, provider, state, reason, received_at, processed_at, payment_id) ON webhook_events TO nouba_school;
GRANT SELECT ON ledger_accounts, ledger_transactions, ledger_entries, daily_stats, daily_stats_newest,
    closed_months, closed_day_corrections TO nouba_school;
