"""INSERT statements that seed a made-up school, one a table: columns are hashes of row numbers.

So the same seed gives the same school, whatever writes it and in whichever pieces. Rows come in the order of time, and
the school grows evenly: of `n` rows in a span, row `i` lies at sqrt(i / n) of it. Users of a row are among those that
had registered by then.
"""

from dataclasses import dataclass

#: pick(i, salt, n) is 0 .. n - 1; at(i, n) is the instant of row i of n. Both are immutable, so that they are inlined.
FUNCTIONS = """
CREATE FUNCTION pg_temp.pick(i bigint, salt bigint, n bigint) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT (hashint8extended(i, {seed} * 1000 + salt) & 9223372036854775807) % n $$;
CREATE FUNCTION pg_temp.at(i bigint, n bigint) RETURNS timestamptz LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT to_timestamp({begins_at} + floor({seconds} * sqrt((i - 0.5::float8) / n))) $$;
"""


@dataclass(frozen=True, slots=True)
class Rows:
    """One statement: so many rows are made of numbers from 1 to `of`, on average `each` of every number."""

    table: str
    of: str
    statement: str
    each: float = 1.0


_TEACHERS = """
INSERT INTO teachers (id, name, specialisation, created_at) OVERRIDING SYSTEM VALUE
SELECT i, 'Teacher ' || i, (ARRAY['mathematics', 'physics', 'science', 'arabic', 'french', 'english'])[1 + i %% 6],
       pg_temp.at(1 + i / 4, {teachers})
FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS i
"""

_CHAPTERS = """
INSERT INTO chapters (id, title, teacher_id, year_target, price_minor, created_at) OVERRIDING SYSTEM VALUE
SELECT i, 'Chapter ' || i, 1 + pg_temp.pick(i, 1, {teachers}), (1 + i %% 3) || 'AS',
       100000 + 50000 * pg_temp.pick(i, 2, 7), pg_temp.at(1 + i / 4, {chapters})
FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS i
"""

_COURSES = """
INSERT INTO courses (id, chapter_id, title, video_ref, transcoding_status, pdf_summary, created_at)
    OVERRIDING SYSTEM VALUE
SELECT i, 1 + i * {chapters} / ({courses} + 1), 'Lesson ' || i, CASE WHEN film < 90 THEN 'videos/' || i END,
       CASE WHEN film < 90 THEN 'completed' WHEN film < 93 THEN 'failed' WHEN film < 95 THEN 'pending' END,
       CASE WHEN pg_temp.pick(i, 4, 10) < 6 THEN 'summaries/' || i || '.pdf' END, pg_temp.at(i, {courses})
FROM (SELECT i, pg_temp.pick(i, 3, 100) AS film
      FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS i) AS made
"""

_JOBS = """
INSERT INTO transcode_jobs (id, course_id, source_key, source_etag, source_bytes, uploaded_at, state, reason,
                            duration_seconds, created_at, planned_at, finished_at) OVERRIDING SYSTEM VALUE
SELECT id, id, 'uploads/' || id, 'seed', 150000 * seconds, created_at, transcoding_status,
       CASE transcoding_status WHEN 'failed' THEN 'The file is not a video.' END, seconds, created_at,
       created_at + interval '5 seconds', created_at + make_interval(secs => 20 + seconds / 4)
FROM (SELECT *, 600 + pg_temp.pick(id, 22, 4800) AS seconds FROM courses
      WHERE id BETWEEN %(first)s AND %(last)s AND transcoding_status IN ('completed', 'failed')) AS filmed
"""

_PARTS = """
INSERT INTO transcode_chunks (job_id, kind, number, state, due_at, done_seconds, result, finished_at)
SELECT id, 'video', 0, 'done', created_at, duration_seconds,
       jsonb_build_object('files', jsonb_build_object('seed.m4s', (source_bytes * 0.8)::bigint), 'parts', '[]'::jsonb),
       finished_at
FROM transcode_jobs WHERE id BETWEEN %(first)s AND %(last)s AND state = 'completed'
"""

_SESSIONS = """
INSERT INTO sessions (id, chapter_id, teacher_id, starts_at, duration_minutes, created_at) OVERRIDING SYSTEM VALUE
SELECT i, chapter, 1 + pg_temp.pick(chapter, 1, {teachers}), pg_temp.at(i, {sessions}), 90,
       pg_temp.at(i, {sessions}) - interval '7 days'
FROM (SELECT i, 1 + pg_temp.pick(i, 5, {chapters}) AS chapter
      FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS i) AS made
"""

_ATTENDANCES = """
INSERT INTO attendances (id, session_id, user_id, checked_in_at) OVERRIDING SYSTEM VALUE
SELECT i, 1 + (i - 1) * {sessions} / {attendances},
       1 + pg_temp.pick(i, 6, greatest(1, i * {users} / {attendances})),
       pg_temp.at(1 + (i - 1) * {sessions} / {attendances}, {sessions})
       + make_interval(secs => pg_temp.pick(i, 7, 1800))
FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS i
"""

# A viewer comes to a lesson once, and has played up to all of it by then.
_VIEWS = """
INSERT INTO lesson_views (id, viewer, course_id, day, chapter_id, played_ms, parts, last_at) OVERRIDING SYSTEM VALUE
SELECT i, 1 + pg_temp.pick(i, 23, greatest(1, i * {users} / {views})), course,
       (at AT TIME ZONE '{zone}')::date, 1 + course * {chapters} / ({courses} + 1), parts * 18000,
       (repeat('1', parts::integer) || repeat('0', 100 - parts::integer))::bit(100), at
FROM (SELECT i, 1 + pg_temp.pick(i, 24, greatest(1, i * {courses} / {views})) AS course,
             greatest(1, least(100, pg_temp.pick(i, 25, 130))) AS parts, pg_temp.at(i, {views}) AS at
      FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS i) AS made
ON CONFLICT DO NOTHING
"""

# Every second one renews an earlier one of the same length, up to three days early or five days late.
_SUBSCRIPTIONS = """
INSERT INTO subscriptions (id, user_id, chapter_id, amount_minor, status, access_level, activated_at, ends_at,
                           created_at) OVERRIDING SYSTEM VALUE
SELECT i, 1 + pg_temp.pick(first, 8, greatest(1, first * {users} / {subscriptions})),
       1 + pg_temp.pick(first, 9, {chapters}), months * (100000 + 50000 * pg_temp.pick(first, 10, 5)),
       CASE WHEN fate < 8 THEN 'pending_payment' WHEN fate < 10 THEN 'cancelled'
            WHEN created_at + term < '{ends_at}' THEN 'expired' ELSE 'active' END,
       (ARRAY['full', 'live', 'recorded'])[1 + i %% 3],
       CASE WHEN fate >= 8 THEN created_at + interval '15 minutes' END,
       CASE WHEN fate >= 8 THEN created_at + interval '15 minutes' + term END, created_at
FROM (
    SELECT *, make_interval(days => days) AS term,
           CASE WHEN i %% 2 = 1 AND share > 0
                THEN greatest(1, 14 * floor({subscriptions} * share ^ 2 / 14)::bigint + i %% 14 - 1) ELSE i END AS first
    FROM (
        SELECT *, sqrt((i - 0.5::float8) / {subscriptions})
                  - 86400 * (days + pg_temp.pick(i, 26, 9) - 5) / {seconds} AS share
        FROM (
            SELECT *, CASE months WHEN 12 THEN 365 ELSE 30 * months END::integer AS days
            FROM (SELECT i, pg_temp.at(i, {subscriptions}) AS created_at, pg_temp.pick(i, 11, 100) AS fate,
                         (ARRAY[1, 1, 1, 1, 3, 3, 12])[1 + i %% 14 / 2] AS months
                  FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS i) AS made
        ) AS long
    ) AS shifted
) AS timed
"""

# A term that somebody changed later: it was sold for more, or its money went back after a week.
_TERMS = """
INSERT INTO subscription_terms (subscription_id, activated_at, user_id, chapter_id, access_level, amount_minor, ends_at,
                                stopped_at, is_returned)
SELECT id, activated_at, user_id, chapter_id, access_level, amount_minor + 50000, ends_at,
       CASE WHEN id %% 3 = 0 THEN activated_at + interval '7 days' END, id %% 3 = 0
FROM subscriptions
WHERE id BETWEEN %(first)s AND %(last)s AND activated_at < '{ends_at}'::timestamptz - interval '8 days'
  AND pg_temp.pick(id, 27, 100) = 0
"""

# Three payments of ten are for a subscription of the same moment: its user pays what it is sold for, before it begins.
# The others are small, and most of what they bring stays in the wallet.
_PAYMENTS = """
INSERT INTO payments (id, provider, provider_reference, user_id, amount_minor, method, status, refunded_minor,
                      credited_minor, fee_minor, failure_reason, created_at, completed_at, next_ask_at)
    OVERRIDING SYSTEM VALUE
SELECT i, provider, 'seed-' || i, user_id, amount,
       CASE WHEN fate < 90 THEN CASE WHEN provider = 'satim' THEN 'cib' ELSE 'edahabia' END END,
       CASE WHEN fate < 87 THEN 'completed' WHEN fate < 88 THEN 'refunded' WHEN fate < 90 THEN 'partially_refunded'
            WHEN fate < 96 THEN 'failed' WHEN fate < 99 THEN 'expired' ELSE 'canceled' END,
       CASE WHEN fate = 87 THEN amount WHEN fate IN (88, 89) THEN amount / 2 ELSE 0 END,
       CASE WHEN fate < 87 THEN amount WHEN fate IN (88, 89) THEN amount - amount / 2 ELSE 0 END,
       CASE WHEN fate < 90 THEN amount / 40 END,
       CASE WHEN fate BETWEEN 90 AND 95
            THEN (ARRAY['insufficient funds', 'card expired', 'not authenticated'])[1 + pg_temp.pick(i, 14, 3)] END,
       created_at,
       CASE WHEN fate < 90 THEN created_at + make_interval(secs => 20 + pg_temp.pick(i, 15, 600)) END,
       created_at + interval '2 minutes'
FROM (SELECT i, pg_temp.at(i, {payments}) AS created_at,
             CASE WHEN sold.id IS NULL THEN pg_temp.pick(i, 16, 100) ELSE 0 END AS fate,
             coalesce(sold.user_id, 1 + pg_temp.pick(i, 13, greatest(1, i * {users} / {payments}))) AS user_id,
             coalesce(term.amount_minor, sold.amount_minor, 10000 + 5000 * pg_temp.pick(i, 17, 10)) AS amount,
             CASE WHEN pg_temp.pick(i, 18, 3) = 0 THEN 'satim' ELSE 'chargily' END AS provider
      FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS i
      LEFT JOIN subscriptions AS sold ON sold.activated_at IS NOT NULL
          AND sold.id = i / 10 * 3 + CASE i %% 10 WHEN 2 THEN 1 WHEN 5 THEN 2 WHEN 8 THEN 3 END
      LEFT JOIN subscription_terms AS term ON term.subscription_id = sold.id) AS made
"""

_EVENTS = """
INSERT INTO webhook_events (id, provider, dedupe_key, state, method, body, body_sha256, payment_id, received_at,
                            processed_at) OVERRIDING SYSTEM VALUE
SELECT id, provider, 'seed-' || id, 'applied', 'POST', '', '', id, heard_at,
       heard_at + make_interval(secs => (20 + pg_temp.pick(id, 19, 400)) / 1000.0)
FROM (SELECT id, provider, coalesce(completed_at, created_at + interval '5 minutes')
             + make_interval(secs => pg_temp.pick(id, 20, 3)) AS heard_at
      FROM payments WHERE id BETWEEN %(first)s AND %(last)s) AS heard
"""

# The accounts: a wallet has its user's number, and the school's own come after them.
_ACCOUNTS = """
INSERT INTO ledger_accounts (id, kind, user_id, provider) OVERRIDING SYSTEM VALUE
SELECT i, 'user_wallet', i, NULL FROM generate_series(%(first)s::bigint, least(%(last)s::bigint, {users})) AS i
UNION ALL
SELECT {users} + own.ordinality, own.kind, NULL, own.provider
FROM unnest(ARRAY['psp_clearing', 'psp_clearing', 'subscription_revenue', 'psp_fees', 'psp_fees', 'dispute_withheld',
                  'dispute_withheld', 'adjustments', 'bank', 'bank', 'dispute_contested', 'dispute_contested'],
            ARRAY['chargily', 'satim', NULL, 'chargily', 'satim', 'chargily', 'satim', NULL, 'chargily', 'satim',
                  'chargily', 'satim'])
     WITH ORDINALITY AS own (kind, provider, ordinality) WHERE %(first)s = 1
"""

# What is booked: the number and kind of each transaction, when, of what, and its entries. The account of a provider is
# the first of its kind for Chargily and the next one for SATIM.
_BOOKINGS = """
WITH found AS MATERIALIZED ({found}), booked AS (
    INSERT INTO ledger_transactions (id, kind, payment_id, subscription_id, created_at) OVERRIDING SYSTEM VALUE
    SELECT id, kind, payment_id, subscription_id, at FROM found
)
INSERT INTO ledger_entries (transaction_id, account_id, amount_minor, currency)
SELECT id, side.account, side.amount, 'DZD' FROM found, LATERAL (VALUES
    (user_id, to_wallet), ({{users}} + account, -to_wallet - fee), ({{users}} + account + 3, fee)
) AS side (account, amount) WHERE side.amount <> 0
"""


def _bookings(found: str) -> str:
    return _BOOKINGS.format(found=found)


_CREDITS = _bookings("""
    SELECT id, 'payment' AS kind, id AS payment_id, NULL::bigint AS subscription_id,
           completed_at + interval '1 second' AS at, user_id, amount_minor AS to_wallet, -fee_minor AS fee,
           CASE provider WHEN 'satim' THEN 2 ELSE 1 END AS account
    FROM payments WHERE id BETWEEN %(first)s AND %(last)s AND completed_at IS NOT NULL
""")

# For what it was sold, whatever was changed later.
_ACTIVATIONS = _bookings("""
    SELECT {payments} + one.id AS id, 'activation' AS kind, NULL::bigint AS payment_id, one.id AS subscription_id,
           one.activated_at AS at, one.user_id, -coalesce(sold.amount_minor, one.amount_minor) AS to_wallet, 0 AS fee,
           3 AS account
    FROM subscriptions AS one LEFT JOIN subscription_terms AS sold ON sold.subscription_id = one.id
    WHERE one.id BETWEEN %(first)s AND %(last)s AND one.activated_at IS NOT NULL
""")

# Up to twenty days after the payment, and before the end.
_REFUNDS = _bookings("""
    SELECT {payments} + {subscriptions} + id AS id, 'refund' AS kind, id AS payment_id,
           NULL::bigint AS subscription_id,
           completed_at + make_interval(secs => 1 + pg_temp.pick(id, 28, least(
               1728000, extract(epoch FROM '{ends_at}'::timestamptz - completed_at)::bigint - 1))) AS at,
           user_id, -refunded_minor AS to_wallet, 0 AS fee, CASE provider WHEN 'satim' THEN 2 ELSE 1 END AS account
    FROM payments WHERE id BETWEEN %(first)s AND %(last)s AND refunded_minor > 0
""")

# One payment of two hundred is disputed on the day after it; each is decided a month later, and every other one is won.
_DISPUTED = """
    SELECT 2 * {payments} + {subscriptions} + 2 * payment.id + decided AS id,
           CASE WHEN decided = 0 THEN 'dispute_withheld' WHEN payment.id %% 2 = 0 THEN 'dispute_released'
                ELSE 'dispute_lost' END AS kind,
           payment.id AS payment_id, NULL::bigint AS subscription_id,
           completed_at + make_interval(days => 1 + 30 * decided) AS at, user_id, {amounts}
    FROM payments AS payment, generate_series(0, 1) AS decided
    WHERE payment.id BETWEEN %(first)s AND %(last)s AND status = 'completed' AND pg_temp.pick(payment.id, 29, 200) = 0
      AND completed_at + make_interval(days => 1 + 30 * decided) < '{ends_at}'::timestamptz
"""
# From the wallet to the payer, whom the provider has it for; and back, where the school wins.
_DISPUTES = _bookings(
    _DISPUTED.replace(
        "{amounts}",
        """CASE WHEN decided = 0 THEN -amount_minor WHEN payment.id %% 2 = 0 THEN amount_minor ELSE 0 END AS to_wallet,
           0 AS fee, CASE provider WHEN 'satim' THEN 2 ELSE 1 END AS account""",
    )
)
# What the bank holds until it decides, and the school's claim to it.
_CLAIMS = """
INSERT INTO ledger_entries (transaction_id, account_id, amount_minor, currency)
SELECT id, {users} + account, CASE account WHEN held THEN amount ELSE -amount END, 'DZD'
FROM ({found}) AS disputed, LATERAL (VALUES (held), (claim)) AS side (account)
""".replace(
    "{found}",
    _DISPUTED.replace(
        "{amounts}",
        """CASE decided WHEN 0 THEN amount_minor ELSE -amount_minor END AS amount,
           CASE provider WHEN 'satim' THEN 7 ELSE 6 END AS held,
           CASE provider WHEN 'satim' THEN 12 ELSE 11 END AS claim""",
    ),
)

_RETURNS = _bookings("""
    SELECT 4 * {payments} + 2 * {subscriptions} + subscription_id AS id, 'deactivation' AS kind,
           NULL::bigint AS payment_id, subscription_id, stopped_at AS at, user_id, amount_minor AS to_wallet, 0 AS fee,
           3 AS account
    FROM subscription_terms WHERE subscription_id BETWEEN %(first)s AND %(last)s AND is_returned
""")

_ADJUSTMENTS = _bookings("""
    SELECT 4 * {payments} + 4 * {subscriptions} + i AS id, 'adjustment' AS kind, NULL::bigint AS payment_id,
           NULL::bigint AS subscription_id, pg_temp.at(i, {users}) + interval '10 minutes' AS at, i AS user_id,
           CASE WHEN i %% 400 = 0 THEN -20000 ELSE 10000 END AS to_wallet, 0 AS fee, 8 AS account
    FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS i WHERE i %% 200 = 0
""")

# On the third of each month what was collected in the month before, without what goes back of it.
_PAYOUTS = _bookings("""
    SELECT 4 * {payments} + 4 * {subscriptions} + {users} + row_number() OVER (ORDER BY at, account) AS id,
           'payout' AS kind, NULL::bigint AS payment_id, NULL::bigint AS subscription_id, at,
           {users} + 8 + account AS user_id, -amount_minor AS to_wallet, 0 AS fee, account
    FROM (
        SELECT date_trunc('month', completed_at, 'UTC') + interval '1 month 2 days 9 hours' AS at,
               CASE provider WHEN 'satim' THEN 2 ELSE 1 END AS account,
               sum(amount_minor - fee_minor - refunded_minor - CASE
                   WHEN status = 'completed' AND pg_temp.pick(id, 29, 200) = 0 AND id %% 2 = 1 THEN amount_minor
                   ELSE 0 END)::bigint AS amount_minor
        FROM payments WHERE %(first)s = 1 AND completed_at IS NOT NULL GROUP BY 1, 2
    ) AS collected WHERE at < '{ends_at}'
""")

_OFFICE = """
INSERT INTO office_payments (user_id, method, amount_minor, received_at)
SELECT 1 + pg_temp.pick(i, 30, greatest(1, i * {users} / {office})), method,
       CASE WHEN i %% 50 = 0 THEN -1 ELSE 1 END * (100000 + 50000 * pg_temp.pick(i, 31, 10)), pg_temp.at(i, {office})
FROM (SELECT i, (ARRAY['cash', 'cash', 'cash', 'transfer', 'cheque'])[1 + i %% 5] AS method
      FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS i) AS made
"""

_CHAPTER_TEACHERS = """
INSERT INTO chapter_teachers (chapter_id, since, teacher_id)
SELECT id, since, CASE WHEN since = created_at THEN teacher_id ELSE 1 + pg_temp.pick(id, 32, {teachers}) END
FROM chapters, LATERAL (VALUES (created_at), (created_at + interval '200 days')) AS taught (since)
WHERE id BETWEEN %(first)s AND %(last)s AND id %% 5 = 0
"""

_USERS = """
INSERT INTO users (id, name, role, year_of_study, balance_minor, created_at) OVERRIDING SYSTEM VALUE
SELECT i, 'Student ' || i, 'student', (1 + pg_temp.pick(i, 21, 3)) || 'AS', coalesce(held.amount_minor, 0),
       pg_temp.at(i, {users})
FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS i
LEFT JOIN (SELECT account_id, sum(amount_minor) AS amount_minor FROM ledger_entries
           WHERE account_id BETWEEN %(first)s AND %(last)s GROUP BY account_id) AS held ON held.account_id = i
"""

#: In this order: what a later statement reads is there, and foreign keys are not checked meanwhile.
TABLES = (
    Rows("teachers", "teachers", _TEACHERS),
    Rows("chapters", "chapters", _CHAPTERS),
    Rows("courses", "courses", _COURSES),
    Rows("transcode_jobs", "courses", _JOBS, 0.93),
    Rows("transcode_chunks", "courses", _PARTS, 0.9),
    Rows("sessions", "sessions", _SESSIONS),
    Rows("attendances", "attendances", _ATTENDANCES),
    Rows("lesson_views", "views", _VIEWS),
    Rows("chapter_teachers", "chapters", _CHAPTER_TEACHERS, 0.4),
    Rows("subscriptions", "subscriptions", _SUBSCRIPTIONS),
    Rows("subscription_terms", "subscriptions", _TERMS, 0.01),
    Rows("payments", "payments", _PAYMENTS),
    Rows("webhook_events", "payments", _EVENTS),
    Rows("ledger_accounts", "users", _ACCOUNTS),
    Rows("ledger_entries", "payments", _CREDITS, 3.6),
    Rows("ledger_entries", "subscriptions", _ACTIVATIONS, 2.76),
    Rows("ledger_entries", "payments", _REFUNDS, 0.09),
    Rows("ledger_entries", "payments", _DISPUTES, 0.02),
    Rows("ledger_entries", "payments", _CLAIMS, 0.02),
    Rows("ledger_entries", "subscriptions", _RETURNS, 0.01),
    Rows("ledger_entries", "users", _ADJUSTMENTS, 0.015),
    Rows("ledger_entries", "users", _PAYOUTS, 0.0),
    Rows("office_payments", "office", _OFFICE),
    Rows("users", "users", _USERS),
)
