"""SQL statements of settlement, prepared once on each connection.

PostgreSQL plans them every few seconds (`FORGET_PLANS`), and not for each batch. Several in one text cost one round
trip. Each of them sees what was committed until it began: what has to be waited for is locked by one statement, and
read by the next.
"""

from typing import Final, NamedTuple


class Statement(NamedTuple):
    """A text, and the name under which a connection has prepared it."""

    name: str
    text: str

    def execute(self, count: int) -> str:
        """What executes it with so many values."""
        return f"EXECUTE {self.name}({', '.join(['%s'] * count)})" if count else f"EXECUTE {self.name}"


# Not `state = 'received'`: the index of waiting events would be read from end to end, and has a whole outage's.
_IS_WAITING: Final = "state || '' = 'received'"

READ: Final = Statement(
    "read_events",
    f"""
SELECT id, provider, method, headers, body, received_at, attempts, tries, taken_up_at,
    coalesce(resolution = 'accepted', false) AS accepted
FROM webhook_events WHERE id = ANY($1) AND {_IS_WAITING}
""",  # noqa: S608
)

# Everybody locks in one order: events, payments, users, and each of these by number; then subscriptions, which only who
# holds their user's row asks for. So two settlements never wait for each other. FOR NO KEY UPDATE: what refers to the
# row (a payment that is being opened) holds a key share of it.
LOCK_EVENTS: Final = Statement(
    "lock_events", "SELECT FROM webhook_events WHERE id = ANY($1::bigint[]) ORDER BY id FOR UPDATE"
)

_KEYS: Final = "jsonb_to_recordset($1) AS key(provider text, reference text, order_number text)"

# Says which payments it locked, and whose wallets are next. A payment that is committed a moment later is not locked:
# the next statement must not see it.
LOCK_PAYMENTS: Final = Statement(
    "lock_payments",
    f"""
SELECT set_config('nouba.payments', coalesce(array_agg(id), '{{}}')::text, true),
    set_config('nouba.users', (coalesce(array_agg(user_id), '{{}}') || $2::bigint[])::text, true)
FROM (
    SELECT id, user_id FROM payments WHERE id IN (
        SELECT payment.id FROM {_KEYS} JOIN payments AS payment
            ON payment.provider = key.provider AND payment.provider_reference = key.reference
        UNION
        SELECT payment.id FROM {_KEYS} JOIN payments AS payment
            ON payment.provider = key.provider AND payment.order_number = key.order_number
    ) ORDER BY id FOR NO KEY UPDATE
) AS payment
""",  # noqa: S608
)

_PAYMENTS: Final = "ANY(current_setting('nouba.payments')::bigint[])"
_USERS: Final = "ANY(current_setting('nouba.users')::bigint[])"

LOCK_WALLETS: Final = Statement(
    "lock_wallets",
    f"SELECT FROM users WHERE id = {_USERS} ORDER BY id FOR NO KEY UPDATE",
)

# What was paid: the school may have changed the price since. What was returned is not paid any more.
_PAID_MINOR: Final = """(
    SELECT coalesce(sum(entry.amount_minor), 0)::bigint FROM ledger_entries AS entry
    JOIN ledger_transactions AS booked ON booked.id = entry.transaction_id
    JOIN ledger_accounts AS account ON account.id = entry.account_id
    WHERE booked.subscription_id = subscriptions.id AND account.kind = 'subscription_revenue'
)"""
_IS_PAID: Final = """(
    SELECT sum(CASE WHEN kind = 'activation' THEN 1 ELSE -1 END) FROM ledger_transactions AS booked
    WHERE booked.subscription_id = subscriptions.id AND booked.kind IN ('activation', 'deactivation')
) > 0"""

_PAYMENT: Final = """SELECT id, provider, provider_reference, order_number, user_id, amount_minor, amount_is_final,
            currency, status, refunded_minor, dispute, credited_minor, fee_minor, method, failure_reason, completed_at,
            registered_minor, amount_told_at, refunded_total_minor, refunded_told_at, refunded_fell_minor,
            subscription_id, registered_subscription_id,
            (SELECT json_agg(object) FROM payment_objects AS object WHERE object.payment_id = payments.id) AS objects
        FROM payments"""

# One row: what was locked, the subscriptions that the wallets pay or may pay and what paid for them, who has paid the
# same orders, and ids for the payments that are not there. A payer without such a subscription may have paid a thousand
# times: nothing of that is read.
READ_PAYMENTS: Final = Statement(
    "read_payments",
    f"""
SELECT ARRAY(SELECT id FROM webhook_events WHERE id = ANY($1::bigint[]) AND {_IS_WAITING}) AS events,
    (SELECT json_agg(payment) FROM (
        {_PAYMENT} WHERE id = {_PAYMENTS}
    ) AS payment) AS payments,
    (SELECT json_agg(wallet) FROM (SELECT id, balance_minor FROM users WHERE id = {_USERS}) AS wallet) AS wallets,
    (SELECT json_agg(pending) FROM (
        SELECT id, user_id, amount_minor, created_at, ends_at FROM subscriptions
        WHERE user_id = {_USERS} AND status = 'pending_payment' ORDER BY created_at, id FOR UPDATE
    ) AS pending) AS pending,
    (SELECT json_agg(paid) FROM (
        SELECT id, user_id, created_at, ends_at, {_PAID_MINOR} AS amount_minor,
            EXISTS (SELECT FROM kept_subscriptions AS kept WHERE kept.subscription_id = subscriptions.id) AS is_kept
        FROM subscriptions
        WHERE user_id = {_USERS} AND status = 'active' AND {_IS_PAID} ORDER BY created_at DESC, id DESC FOR UPDATE
    ) AS paid) AS paid,
    (SELECT json_agg(credit) FROM (
        SELECT id, user_id, completed_at, provider, provider_reference, credited_minor, subscription_id FROM payments
        WHERE completed_at IS NOT NULL AND user_id = ANY(ARRAY(
            SELECT user_id FROM subscriptions WHERE user_id = {_USERS} AND status IN ('pending_payment', 'active')))
    ) AS credit) AS credits,
    (SELECT json_agg(ordered) FROM (
        SELECT payments.id, payments.order_number, payments.user_id, payments.completed_at
        FROM (SELECT DISTINCT order_number FROM jsonb_to_recordset($2) AS key(order_number text)) AS wanted
        JOIN payments ON payments.order_number = wanted.order_number AND payments.completed_at IS NOT NULL
    ) AS ordered) AS ordered,
    ARRAY(
        SELECT nextval('payments_id_seq') FROM jsonb_to_recordset($2) AS key(provider text, reference text)
        WHERE key.reference IS NOT NULL AND NOT EXISTS (
            SELECT FROM payments WHERE provider = key.provider AND provider_reference = key.reference)
    ) AS new_payments
""",  # noqa: S608
)

_OF_PAYMENT: Final = """(
    id bigint, provider text, provider_reference text, order_number text, user_id bigint, amount_minor bigint,
    amount_is_final boolean, currency text, status text, refunded_minor bigint, dispute text, credited_minor bigint,
    fee_minor bigint, method text, failure_reason text, completed_at timestamptz, registered_minor bigint,
    amount_told_at timestamptz, refunded_total_minor bigint, refunded_told_at timestamptz,
    refunded_fell_minor bigint, subscription_id bigint, registered_subscription_id bigint)"""

# in one order for all: a transaction that opens the same payments waits, and does not wait for us
OPEN: Final = Statement(
    "open_payments",
    f"""
INSERT INTO payments (id, provider, provider_reference, order_number, user_id, amount_minor, amount_is_final, currency,
    status, refunded_minor, dispute, credited_minor, fee_minor, method, failure_reason, completed_at, registered_minor,
    amount_told_at, refunded_total_minor, refunded_told_at, refunded_fell_minor, subscription_id,
    registered_subscription_id)
SELECT * FROM jsonb_to_recordset($1) AS payment{_OF_PAYMENT} ORDER BY provider, provider_reference
""",  # noqa: S608
)
SAVE: Final = Statement(
    "save_payments",
    f"""
UPDATE payments SET provider_reference = given.provider_reference, order_number = given.order_number,
    amount_minor = given.amount_minor, amount_is_final = given.amount_is_final, status = given.status,
    refunded_minor = given.refunded_minor, dispute = given.dispute, credited_minor = given.credited_minor,
    fee_minor = given.fee_minor, method = given.method, failure_reason = given.failure_reason,
    completed_at = given.completed_at, registered_minor = given.registered_minor, amount_told_at = given.amount_told_at,
    refunded_total_minor = given.refunded_total_minor, refunded_told_at = given.refunded_told_at,
    refunded_fell_minor = given.refunded_fell_minor,
    subscription_id = given.subscription_id, registered_subscription_id = given.registered_subscription_id
FROM jsonb_to_recordset($1) AS given{_OF_PAYMENT} WHERE payments.id = given.id
""",  # noqa: S608
)

SAVE_OBJECTS: Final = Statement(
    "save_objects",
    """
INSERT INTO payment_objects (payment_id, kind, object_id, state, amount_minor, began_at, ended_at, reported_at)
SELECT * FROM jsonb_to_recordset($1) AS given(payment_id bigint, kind text, object_id text, state text,
    amount_minor bigint, began_at timestamptz, ended_at timestamptz, reported_at timestamptz)
ON CONFLICT (payment_id, kind, object_id) DO UPDATE SET state = excluded.state, amount_minor = excluded.amount_minor,
    began_at = excluded.began_at, ended_at = excluded.ended_at, reported_at = excluded.reported_at
""",
)

# A row of the school's checkout without any event; read and not locked: the event that waits changes nothing.
REGISTERED: Final = Statement(
    "find_registered",
    f"""
SELECT to_jsonb(payment) AS payment FROM (
    {_PAYMENT} WHERE provider = $1 AND user_id = $2 AND status = 'pending'
        AND (provider_reference IS NULL OR starts_with(provider_reference, $3))
) AS payment
""",  # noqa: S608
)

LINKS: Final = Statement(
    "find_links",
    "SELECT object_id, user_id, reference FROM payment_links WHERE provider = $1 AND object_id = ANY($2::text[])",
)
# many say the same at once: in one order for all
SAVE_LINKS: Final = Statement(
    "save_links",
    """
INSERT INTO payment_links (provider, object_id, user_id, reference)
SELECT DISTINCT given.provider, given.object_id, given.user_id, given.reference
FROM jsonb_to_recordset($1) AS given(provider text, object_id text, user_id bigint, reference text)
WHERE given.user_id IS NULL OR EXISTS (SELECT FROM users WHERE id = given.user_id)
ORDER BY 1, 2, 3, 4
ON CONFLICT DO NOTHING
""",
)

_ENTRY: Final = "entry(kind text, user_id bigint, provider text, amount_minor bigint)"
_ENTRIES: Final = f"jsonb_to_recordset($1) AS given(entries jsonb), jsonb_to_recordset(given.entries) AS {_ENTRY}"
# `=` and `IS NULL`, unlike `IS NOT DISTINCT FROM`, find by an index
_ACCOUNT: Final = """CASE
    WHEN entry.user_id IS NOT NULL THEN (
        SELECT id FROM ledger_accounts WHERE kind = entry.kind AND user_id = entry.user_id AND provider IS NULL)
    WHEN entry.provider IS NOT NULL THEN (
        SELECT id FROM ledger_accounts WHERE kind = entry.kind AND user_id IS NULL AND provider = entry.provider)
    ELSE (SELECT id FROM ledger_accounts WHERE kind = entry.kind AND user_id IS NULL AND provider IS NULL)
END"""

OPEN_ACCOUNTS: Final = Statement(
    "open_accounts",
    f"""
INSERT INTO ledger_accounts (kind, user_id, provider)
SELECT DISTINCT kind, user_id, provider FROM {_ENTRIES} WHERE {_ACCOUNT} IS NULL ORDER BY kind, user_id, provider
ON CONFLICT DO NOTHING
""",  # noqa: S608
)
POST: Final = Statement(
    "post",
    f"""
WITH given AS MATERIALIZED (
    SELECT nextval('ledger_transactions_id_seq') AS id, *
    FROM jsonb_to_recordset($1) AS given(
        kind text, currency text, event_id bigint, payment_id bigint, subscription_id bigint, entries jsonb)
), entry AS MATERIALIZED (
    SELECT given.id AS transaction_id, given.currency, entry.*
    FROM given, jsonb_to_recordset(given.entries) AS {_ENTRY}
), booked AS (
    INSERT INTO ledger_transactions (id, kind, event_id, payment_id, subscription_id)
    SELECT id, kind, event_id, payment_id, subscription_id FROM given
), credited AS (
    UPDATE users SET balance_minor = balance_minor + moved.amount_minor
    FROM (
        SELECT user_id, sum(amount_minor)::bigint AS amount_minor FROM entry WHERE kind = 'user_wallet' GROUP BY user_id
    ) AS moved
    WHERE users.id = moved.user_id
)
INSERT INTO ledger_entries (transaction_id, account_id, amount_minor, currency)
SELECT transaction_id, {_ACCOUNT}, amount_minor, currency FROM entry ORDER BY transaction_id
""",  # noqa: S608
)

ACTIVATE: Final = Statement(
    "activate",
    """
UPDATE subscriptions SET status = 'active', activated_at = given.at, ends_at = coalesce(ends_at, given.until),
    granted_until = CASE WHEN ends_at IS NULL THEN given.until END
FROM jsonb_to_recordset($1) AS given(id bigint, at timestamptz, until timestamptz) WHERE subscriptions.id = given.id
""",
)
# An end that the school had set stays; the one that the activation set goes, whatever the period is by now. An older
# release did not write down which one it was: then the period decides. In seconds: the database's zone would
# make another instant of days, where a clock was changed in between.
DEACTIVATE: Final = Statement(
    "deactivate",
    """
UPDATE subscriptions SET status = 'pending_payment', activated_at = NULL,
    ends_at = nullif(ends_at, coalesce(granted_until, activated_at + make_interval(secs => given.seconds))),
    granted_until = NULL
FROM jsonb_to_recordset($1) AS given(id bigint, seconds float) WHERE subscriptions.id = given.id
""",
)

CLOSE: Final = Statement(
    "close_events",
    """
UPDATE webhook_events SET state = given.state, reason = given.reason, payment_id = given.payment_id,
    processed_at = clock_timestamp(), next_attempt_at = NULL,
    -- an operator has to check it once more
    resolution = CASE WHEN given.state NOT IN ('quarantined', 'dead') THEN resolution END
FROM jsonb_to_recordset($1) AS given(id bigint, state text, reason text, payment_id bigint)
WHERE webhook_events.id = given.id
""",
)
PARK: Final = Statement(
    "park_events",
    """
UPDATE webhook_events SET reason = given.reason, attempts = attempts + 1, next_attempt_at = given.until,
    tries = tries + (given.tried_at IS NOT NULL)::integer, taken_up_at = coalesce(taken_up_at, given.tried_at)
FROM jsonb_to_recordset($1) AS given(id bigint, reason text, until timestamptz, tried_at timestamptz)
WHERE webhook_events.id = given.id
""",
)
# One that is being settled right now is left to that: it may hold its row while it waits for this payment. Read
# once for each payment, by an index of its own: PostgreSQL expects few events to wait, and would rather go through all
# of them each time, which it does after an outage.
RELEASE: Final = Statement(
    "release_events",
    """
UPDATE webhook_events SET next_attempt_at = due.at FROM (
    SELECT event.id, given.at FROM jsonb_to_recordset($1) AS given(provider text, reference text, at timestamptz)
    CROSS JOIN LATERAL (
        SELECT id FROM webhook_events
        WHERE reference = given.reference AND provider = given.provider AND next_attempt_at > given.at
            AND attempts > 0 AND processed_at IS NULL
        FOR UPDATE SKIP LOCKED
    ) AS event
) AS due WHERE webhook_events.id = due.id
""",
)
ANNOUNCE: Final = Statement(
    "announce",
    "INSERT INTO outbox (service, message) "
    "SELECT service, message FROM jsonb_to_recordset($1) AS given(service text, message jsonb)",
)

#: What is written, in the order in which it has to be: a payment before what is booked of it, and so on.
WRITES: Final = (
    OPEN,
    SAVE,
    SAVE_OBJECTS,
    SAVE_LINKS,
    OPEN_ACCOUNTS,
    POST,
    ACTIVATE,
    DEACTIVATE,
    PARK,
    CLOSE,
    RELEASE,
    ANNOUNCE,
)
ALL: Final = (READ, LOCK_EVENTS, LOCK_PAYMENTS, LOCK_WALLETS, READ_PAYMENTS, REGISTERED, LINKS, *WRITES)

# Each of these finds a few rows by their keys, in tables that only grow. PostgreSQL cannot know how few: it expects a
# hundred rows of every JSON, and for as many it would read a table that is still small from end to end, or compile for
# milliseconds what runs for microseconds.
_BY_KEYS: Final = "SET jit = off; SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off"

#: Makes all of them known to a connection.
PREPARE: Final = ";".join([_BY_KEYS, *(f"PREPARE {one.name} AS {one.text}" for one in ALL)])

#: Makes it plan them anew. A plan that was made for a small table stays in use while the table grows a thousandfold,
#: until the table is analyzed: it may search for a payment among all of its provider's.
FORGET_PLANS: Final = "DISCARD PLANS"
