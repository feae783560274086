"""The school of the part `day1000`: three years of every service, a table a statement.

Indexes and constraints are the schema's. Nearly all that is old has ended; a little is open. Nothing was erased yet:
retention begins when it is measured. Digests of the hash chain are made up: nothing that is measured recomputes them.
"""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import date
from zoneinfo import ZoneInfo

import psycopg2
from sqlalchemy import Engine

from services.stats.seeding import insert_statements
from services.stats.seeding.insert_statements import TABLES, Rows
from services.stats.seeding.seeder import SIZES, counts, seed

DAYS = 3 * 365 + 1
#: Bytes of the whole database at scale 1, with its indexes.
BYTES = 31e9

#: Rows of one statement are spread over the school's time by `at`, and never come after its end.
_JOBS = """
INSERT INTO transcode_jobs (id, course_id, source_key, source_etag, source_bytes, uploaded_at, state, reason, plan,
                            content_key, encoder, duration_seconds, created_at, planned_at, finished_at, stored_bytes,
                            cleaned_at, source_removed_at) OVERRIDING SYSTEM VALUE
SELECT id, id, 'uploads/' || id, 'seed', 150000 * seconds, created_at, transcoding_status,
       CASE transcoding_status WHEN 'failed' THEN 'The file is not a video.' END,
       jsonb_build_object('renditions', '[1080, 720, 480, 360]'::jsonb, 'chunk_seconds', 60), 'seed' || id, 'ffmpeg',
       seconds, created_at, created_at + interval '5 seconds', created_at + make_interval(secs => 20 + seconds / 4),
       CASE transcoding_status WHEN 'completed' THEN 120000 * seconds END,
       CASE transcoding_status WHEN 'failed' THEN created_at + interval '1 day' END,
       CASE WHEN created_at < timestamptz '{ends_at}' - interval '29 days' THEN created_at + interval '29 days' END
FROM (SELECT *, 600 + pg_temp.pick(id, 22, 4800) AS seconds FROM courses
      WHERE id BETWEEN %(first)s AND %(last)s AND transcoding_status IN ('completed', 'failed')) AS filmed
"""
_PARTS = """
INSERT INTO transcode_chunks (job_id, kind, number, state, due_at, done_seconds, result, finished_at)
SELECT id, kind, number, 'done', created_at,
       CASE kind WHEN 'video' THEN 60 WHEN 'audio' THEN duration_seconds ELSE 0 END,
       jsonb_build_object('files', jsonb_build_object('1080/' || number || '.m4s', 7000000, '720/' || number || '.m4s',
                          4000000, '480/' || number || '.m4s', 2000000, '360/' || number || '.m4s', 1000000),
                          'parts', (SELECT jsonb_agg(jsonb_build_array(number * 10 + part, 6.0, 700000 + part))
                                    FROM generate_series(0, 9) AS part)), finished_at
FROM transcode_jobs, LATERAL (
    SELECT 'video' AS kind, number FROM generate_series(0, (duration_seconds / 60)::integer) AS number
    UNION ALL VALUES ('plan', 0), ('audio', 0), ('stills', 0), ('publish', 0)
) AS part WHERE id BETWEEN %(first)s AND %(last)s AND state = 'completed'
"""
_EVENTS = """
INSERT INTO webhook_events (id, provider, dedupe_key, state, reason, body, body_sha256, reference, payment_id,
                            received_at, processed_at, next_attempt_at, attempts, resolution)
    OVERRIDING SYSTEM VALUE
SELECT id, provider, 'seed-' || id, state,
       CASE WHEN state IN ('quarantined', 'dead') THEN 'The amount is not the one of the checkout.' END,
       body, sha256(body), provider_reference, CASE WHEN state = 'applied' THEN id END, heard_at,
       CASE WHEN state <> 'received'
            THEN heard_at + make_interval(secs => (20 + pg_temp.pick(id, 19, 400)) / 1000.0) END,
       CASE WHEN state = 'received' THEN now() + interval '3 hours' END, CASE WHEN state = 'received' THEN 1 ELSE 0 END,
       CASE WHEN state IN ('quarantined', 'dead') AND pg_temp.pick(id, 31, 100) > 0 THEN 'dismissed' END
FROM (SELECT id, provider, provider_reference, heard_at,
             convert_to('{{"transaction_id":"seed-' || id || '","amount":' || amount_minor || ',"currency":"DZD",'
                        || '"status":"' || status || '","user_id":' || user_id || '}}', 'UTF8') AS body,
             CASE WHEN id > {payments} - 40 THEN 'received' WHEN fate < 2 THEN 'quarantined' WHEN fate < 3 THEN 'dead'
                  WHEN fate < 30 THEN 'ignored' ELSE 'applied' END AS state
      FROM (SELECT *, pg_temp.pick(id, 30, 1000) AS fate, coalesce(completed_at, created_at + interval '5 minutes')
                   + make_interval(secs => pg_temp.pick(id, 20, 3)) AS heard_at
            FROM payments WHERE id BETWEEN %(first)s AND %(last)s) AS heard) AS judged
"""
_LETTERS = """
INSERT INTO dead_letters (id, queue, message_id, state, cause, error, actor, arguments, attempts, message, death,
                          died_at, collected_at, replayed_at, replays, decided_by, decided_why, decided_at)
    OVERRIDING SYSTEM VALUE
SELECT i, (ARRAY['webhooks', 'videos', 'default', 'events'])[1 + pg_temp.pick(i, 32, 4)], 'message-' || i, state,
       (ARRAY['retries', 'permanent', 'contract', 'delivery_limit'])[1 + pg_temp.pick(i, 33, 4)],
       'OperationalError: the server closed the connection unexpectedly',
       (ARRAY['settle', 'encode_chunk', 'compute_day'])[1 + pg_temp.pick(i, 34, 3)], jsonb_build_object('id', i), 5,
       convert_to(repeat('x', 300), 'UTF8'), 'death-' || i, died_at, died_at + interval '1 second',
       CASE state WHEN 'replayed' THEN died_at + interval '1 hour' END, CASE state WHEN 'replayed' THEN 1 ELSE 0 END,
       CASE WHEN state <> 'dead' THEN 'operator' END, CASE WHEN state <> 'dead' THEN 'known outage' END,
       CASE WHEN state <> 'dead' THEN died_at + interval '1 hour' END
FROM (SELECT i, pg_temp.at(i, {letters}) AS died_at,
             CASE WHEN i > {letters} - 100 THEN 'dead' WHEN pg_temp.pick(i, 35, 10) < 6 THEN 'replayed'
                  ELSE 'discarded' END AS state
      FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS i) AS made
"""
_ACTS = """
INSERT INTO operator_acts (id, who, what, why, ids, chosen_by, acted_at) OVERRIDING SYSTEM VALUE
SELECT i, 'operator',
       (ARRAY['dead.replay', 'dead.discard', 'webhook.accept', 'lesson.retry'])[1 + pg_temp.pick(i, 36, 4)],
       'known outage', jsonb_build_array(i), jsonb_build_object('state', 'dead'), pg_temp.at(i, {acts})
FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS i
"""
_OBJECTS = """
INSERT INTO payment_objects (payment_id, kind, object_id, state, amount_minor, began_at)
SELECT id, 'refund', 're_' || id, 'succeeded', refunded_minor, completed_at + interval '1 day'
FROM payments WHERE id BETWEEN %(first)s AND %(last)s AND refunded_minor > 0
"""
_VERSIONS = """
INSERT INTO row_versions (kind, row_id, state, digest, recorded_at)
SELECT 'payment', id, status, sha256(int8send(id)), coalesce(completed_at, created_at)
FROM payments WHERE id BETWEEN %(first)s AND %(last)s
"""
#: What the sealer has sealed; the chain's positions follow one another.
_SEALS = """
INSERT INTO seals (position, what, row_id, digest, sealed_at)
SELECT (SELECT coalesce(max(position), 0) FROM seals) + row_number() OVER (ORDER BY id), '{what}', id,
       sha256(int8send(id)), timestamptz '{{ends_at}}' - interval '1 hour'
FROM {table} WHERE id BETWEEN %(first)s AND %(last)s
"""
_OUTGOING = """
INSERT INTO events (id, type, key, payload, occurred_at, fanned_out_at) OVERRIDING SYSTEM VALUE
SELECT i, 'payment.completed', 'payment:' || i, jsonb_build_object('payment_id', i), at, at
FROM (SELECT i, timestamptz '{ends_at}' - interval '30 days' * (1 - i / {outgoing}::float8) AS at
      FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS i) AS made
"""
_ENDPOINTS = """
INSERT INTO webhook_endpoints (id, url, secret) OVERRIDING SYSTEM VALUE
SELECT i, 'https://school.example/hooks/' || i, 'whsec_c2VlZA==' FROM generate_series(1, 3) AS i WHERE %(first)s = 1
"""
_DELIVERIES = """
INSERT INTO webhook_deliveries (endpoint_id, event_id, key, state, attempts, due_at, log, began_at, ended_at)
SELECT endpoint, id, key, CASE WHEN pg_temp.pick(id, 37, 1000) = 0 THEN 'failed' ELSE 'delivered' END, 1, occurred_at,
       jsonb_build_array(jsonb_build_object('at', occurred_at, 'status', 200, 'milliseconds', 40)), occurred_at,
       occurred_at
FROM events, generate_series(1, 3) AS endpoint
WHERE id BETWEEN %(first)s AND %(last)s
ORDER BY id, endpoint
"""
_CHECKOUTS = """
INSERT INTO checkouts (payment_id, provider, order_number, return_url, token_name, begun_at, provider_checkout_id,
                       redirect_url, created_at)
SELECT id, provider, order_number, 'https://school.example/thanks', 'school', created_at, provider_reference,
       'https://pay.example/' || id, created_at
FROM payments WHERE id BETWEEN %(first)s AND %(last)s AND id %% 10 = 0
"""
_CAPTIONS = """
INSERT INTO captions (course_id, language, body, created_at)
SELECT id, 'ar', 'WEBVTT' || repeat(E'\n\n00:00.000 --> 00:05.000\nword', 100), created_at
FROM courses WHERE id BETWEEN %(first)s AND %(last)s AND transcoding_status = 'completed' AND id %% 3 = 0
"""
_KEPT_DAYS = """
INSERT INTO daily_stats (day, version, payload, etag, body_gzip, complete, watermark, computed_at)
SELECT copy.day, number, payload || jsonb_build_object('day', to_char(copy.day, 'YYYY-MM-DD')),
       md5(copy.day::text || number), body_gzip, true, watermark, copy.day + 1 + interval '10 minutes' * number
FROM daily_stats AS computed,
     LATERAL (SELECT computed.day - ago AS day FROM generate_series(1, %(days)s) AS ago) AS copy,
     generate_series(1, 3) AS number
WHERE computed.day = %(last)s
"""
_NEWEST_DAYS = """
INSERT INTO daily_stats_newest (day, version, failed, checked_at, verified_at, differences)
SELECT day, max(version), false, least(now(), day + interval '10 days'), max(computed_at), 0
FROM daily_stats GROUP BY day
ON CONFLICT DO NOTHING
"""
#: A little of everything is open: lessons in work, payments whose end nobody knows.
_OPEN = """
UPDATE payments SET status = 'pending', completed_at = NULL, next_ask_at = now() + interval '1 hour',
       refunded_minor = 0, credited_minor = 0, fee_minor = NULL
WHERE id > (SELECT max(id) FROM payments) - 2000 AND status IN ('expired', 'failed');
UPDATE payments SET next_ask_at = NULL WHERE status IN ('canceled') AND id > (SELECT max(id) FROM payments) - 2000;
INSERT INTO transcode_jobs (course_id, source_key, source_etag, source_bytes, uploaded_at, state, content_key,
                            duration_seconds, planned_at)
SELECT id, 'uploads/open-' || id, 'seed', 100000000, now(), 'encoding', 'open' || id, 3600, now()
FROM courses ORDER BY id DESC LIMIT 10;
INSERT INTO transcode_chunks (job_id, kind, number, due_at)
SELECT id, 'video', number, now() + interval '1 hour' FROM transcode_jobs, generate_series(0, 59) AS number
WHERE finished_at IS NULL;
"""
#: What an earlier run accepted, and what has become due since it was written.
_CALM = """
DELETE FROM outbox;
UPDATE webhook_events SET next_attempt_at = now() + interval '3 hours', attempts = greatest(attempts, 1)
WHERE state = 'received';
UPDATE payments SET next_ask_at = now() + interval '1 hour'
WHERE status IN ('pending', 'authorized') AND next_ask_at IS NOT NULL;
UPDATE transcode_chunks SET due_at = now() + interval '1 hour' WHERE state <> 'done' AND due_at IS NOT NULL;
"""
_SEAL_ERASURES = """
INSERT INTO seals (position, what, row_id, digest, sealed_at)
SELECT (SELECT max(position) FROM seals) + row_number() OVER (ORDER BY id), 'version', id, sha256(int8send(id)),
       now() - interval '1 hour'
FROM row_versions WHERE id > (SELECT max(row_id) FROM seals WHERE what = 'version')
"""


def _changed(statement: str, old: str, new: str) -> str:
    """A statement of the seeder with something in another place. Raises ValueError where it has changed there."""
    if old not in statement:
        raise ValueError(f"The seeder's statement has no {old!r} any more.")
    return statement.replace(old, new)


_ORDERED_PAYMENTS = _changed(
    _changed(
        insert_statements._PAYMENTS,
        "provider, provider_reference, user_id",
        "provider, provider_reference, order_number, user_id",
    ),
    "'seed-' || i, user_id",
    "'seed-' || i, 'ORDER-' || i, user_id",
)
_CREDITS_OF_EVENTS = _changed(
    _changed(insert_statements._CREDITS, "ledger_transactions (id, kind,", "ledger_transactions (id, kind, event_id,"),
    "SELECT id, kind, payment_id, subscription_id, at FROM found",
    "SELECT id, kind, payment_id, payment_id, subscription_id, at FROM found",
)
#: Orders that nobody paid stay pending, and no wallet covers them.
_UNPAID_SUBSCRIPTIONS = _changed(
    insert_statements._SUBSCRIPTIONS, "months * (100000", "CASE WHEN fate < 8 THEN 100 ELSE 1 END * months * (100000"
)
_INSTEAD = {
    insert_statements._SUBSCRIPTIONS: _UNPAID_SUBSCRIPTIONS,
    insert_statements._JOBS: _JOBS,
    insert_statements._PARTS: _PARTS,
    insert_statements._PAYMENTS: _ORDERED_PAYMENTS,
    insert_statements._EVENTS: _EVENTS,
    insert_statements._CREDITS: _CREDITS_OF_EVENTS,
}


def _seals(what: str, table: str, of: str) -> Rows:
    return Rows("seals", of, _SEALS.format(what=what, table=table))


ALL = (
    *(Rows(rows.table, rows.of, _INSTEAD.get(rows.statement, rows.statement), rows.each) for rows in TABLES),
    Rows("dead_letters", "letters", _LETTERS),
    Rows("operator_acts", "acts", _ACTS),
    Rows("payment_objects", "payments", _OBJECTS),
    Rows("row_versions", "payments", _VERSIONS),
    _seals("event", "webhook_events", "payments"),
    _seals("account", "ledger_accounts", "accounts"),
    _seals("transaction", "ledger_transactions", "transactions"),
    _seals("act", "operator_acts", "acts"),
    _seals("version", "row_versions", "payments"),
    Rows("events", "outgoing", _OUTGOING),
    Rows("webhook_endpoints", "endpoints", _ENDPOINTS),
    Rows("webhook_deliveries", "outgoing", _DELIVERIES),
    Rows("checkouts", "payments", _CHECKOUTS),
    Rows("captions", "courses", _CAPTIONS),
)


def students(scale: float) -> int:
    """How many users the school of this scale has."""
    return max(200, int(SIZES["10m"] * scale))


def describe(scale: float) -> str:
    """What the school of this scale has, in words."""
    found = counts(students(scale)) | _more(students(scale))
    return (
        f"{found['payments']:,} payments and events, {found['attendances']:,} check-ins, "
        f"{found['letters']:,} dead letters, {found['courses']:,} lessons"
    )


def write(engine: Engine, scale: float, until: date, zone: ZoneInfo, progress: Callable[[str, int, int], None]) -> int:
    """Fill an empty database; how many rows a second were written."""
    of = students(scale)
    done = seed(engine, of, 1, until, zone, progress, days=DAYS, tables=ALL, more_counts=_more(of))
    return done.rows_per_second


def finish(url: str, last: date) -> None:
    """Write the days before `last`, which has been computed, as copies of it, and open a little of everything."""
    with _as_seeder(url) as cursor:
        cursor.execute(_KEPT_DAYS, {"last": last, "days": DAYS - 1})
        cursor.execute(_NEWEST_DAYS)
        cursor.execute(_OPEN)
        cursor.execute("RESET session_replication_role")
        cursor.execute("VACUUM (ANALYZE) daily_stats, daily_stats_newest, payments, transcode_jobs, transcode_chunks")
        cursor.execute("CHECKPOINT")


def make_calm(url: str) -> None:
    """Nothing is due and nothing is waiting to be published, whatever was measured before and however long ago."""
    with _as_seeder(url) as cursor:
        cursor.execute(_CALM)
        cursor.execute("VACUUM outbox")


def finish_pruning(url: str) -> None:
    """Seal what the erasure recorded, as the worker would in time, and vacuum what autovacuum would."""
    with _as_seeder(url) as cursor:
        cursor.execute(_SEAL_ERASURES)
        cursor.execute("RESET session_replication_role")
        cursor.execute("VACUUM (ANALYZE) webhook_events, dead_letters, daily_stats, lesson_views, row_versions, seals")
        cursor.execute("CHECKPOINT")


@contextmanager
def _as_seeder(url: str) -> Iterator["psycopg2.extensions.cursor"]:
    """Statements of a superuser, each a transaction, without triggers."""
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SET session_replication_role = replica")
            yield cursor


def _more(of: int) -> dict[str, int]:
    found = counts(of)
    return {
        "letters": of,
        "acts": of // 10,
        "outgoing": of // 3,
        "endpoints": 1,
        "accounts": of + 8,
        # numbers of transactions have gaps: this is above the largest
        "transactions": 4 * found["payments"] + 5 * found["subscriptions"],
    }
