"""The statements of the books, which each connection prepares once: PostgreSQL plans them then, and not for each event.

Several in one text cost one round trip. Each of them sees what was committed until it began: what has to be waited for
is locked by one statement, and read by the next.
"""

from typing import Final, NamedTuple

from shared.runtime import outbox


class Statement(NamedTuple):
    """A text, and the name under which a connection has prepared it."""

    name: str
    text: str

    def execute(self, count: int) -> str:
        """What executes it with so many values."""
        return f"EXECUTE {self.name}({', '.join(['%s'] * count)})"


READ: Final = Statement(
    "read_event",
    "SELECT id, provider, method, headers, body, received_at, attempts FROM webhook_events "
    "WHERE id = $1 AND state = 'received'",
)

_PAYMENT: Final = (
    "payment.id, payment.provider, payment.provider_reference, payment.order_number, payment.user_id, "
    "payment.amount_minor, payment.amount_is_final, payment.currency, payment.status, payment.refunded_minor, "
    "payment.dispute, payment.credited_minor, payment.fee_minor, payment.method, payment.failure_reason, "
    "payment.completed_at"
)

_PENDING: Final = """
SELECT id AS pending_id, amount_minor AS pending_minor, created_at FROM subscriptions
WHERE user_id = {user} AND status = 'pending_payment' ORDER BY created_at, id FOR UPDATE
"""

# A wallet that is locked: its balance, and a row for each subscription that waits for it.
_WALLET: Final = "wallet.balance_minor, pending.pending_id, pending.pending_minor"
_OF_WALLET: Final = f"LEFT JOIN LATERAL ({_PENDING.format(user='wallet.id')}) AS pending ON true"
_OF_PAYMENT: Final = f"LEFT JOIN users AS wallet ON wallet.id = payment.user_id {_OF_WALLET}"
_IN_ORDER: Final = "ORDER BY pending.created_at, pending.pending_id"

# FOR NO KEY UPDATE everywhere: what refers to the row (a payment that is being opened) holds a key share of it.
LOCK_EVENT: Final = Statement("lock_event", "SELECT FROM webhook_events WHERE id = $1 FOR UPDATE")

# Says which payment it locked, and its wallet with it. One that is committed a moment later is not locked: the next
# statement must not see it.
LOCK_PAYMENT: Final = Statement(
    "lock_payment",
    """
SELECT set_config('nouba.payment', payment.id::text, true)
FROM (
    SELECT payments.id, payments.user_id FROM webhook_events AS event JOIN payments
        ON payments.provider = event.provider AND payments.provider_reference = event.reference
    WHERE event.id = $1 AND event.state = 'received' FOR NO KEY UPDATE OF payments
) AS payment, LATERAL (SELECT FROM users WHERE id = payment.user_id FOR NO KEY UPDATE) AS wallet
""",
)

CLAIM: Final = Statement(
    "claim_event",
    f"""
SELECT event.state AS event_state, event.provider AS event_provider, event.reference AS event_reference,
    {_PAYMENT}, {_WALLET}
FROM webhook_events AS event
LEFT JOIN payments AS payment ON payment.id = nullif(current_setting('nouba.payment', true), '')::bigint {_OF_PAYMENT}
WHERE event.id = $1 {_IN_ORDER}
""",  # noqa: S608
)

FIND: Final = Statement(
    "find_payment",
    f"""
SELECT {_PAYMENT} FROM payments AS payment
WHERE provider = $1 AND (provider_reference = $2 OR order_number = $3)
ORDER BY CASE WHEN provider_reference = $2 THEN 0 WHEN provider_reference IS NULL THEN 1 ELSE 2 END, id
LIMIT 1 FOR NO KEY UPDATE
""",  # noqa: S608
)

# A lock of the user here would come before the payment's: two settlements of a new payment could wait for each other.
OPEN: Final = Statement(
    "open_payment",
    """
INSERT INTO payments (provider, provider_reference, order_number, user_id, amount_minor, amount_is_final, currency)
SELECT $1, $2, $3, id, $5, $6, $7 FROM users WHERE id = $4
ON CONFLICT (provider, provider_reference) DO NOTHING
""",
)
LOCK_OPENED: Final = Statement(
    "lock_opened",
    """
SELECT FROM (
    SELECT user_id FROM payments WHERE provider = $1 AND provider_reference = $2 FOR NO KEY UPDATE
) AS payment, LATERAL (SELECT FROM users WHERE id = payment.user_id FOR NO KEY UPDATE) AS wallet
""",
)
OPENED: Final = Statement(
    "opened_payment",
    f"""
SELECT {_PAYMENT}, {_WALLET} FROM payments AS payment {_OF_PAYMENT}
WHERE payment.provider = $1 AND payment.provider_reference = $2 {_IN_ORDER}
""",  # noqa: S608
)

SAVE: Final = Statement(
    "save_payment",
    """
UPDATE payments SET provider_reference = $2, order_number = $3, amount_minor = $4, amount_is_final = $5, status = $6,
    refunded_minor = $7, dispute = $8, credited_minor = $9, fee_minor = $10, method = $11, failure_reason = $12,
    completed_at = $13
WHERE id = $1
""",
)

LOCK_WALLET: Final = Statement("lock_wallet", "SELECT FROM users WHERE id = $1 FOR NO KEY UPDATE")
BALANCE: Final = Statement(
    "balance",
    f"SELECT {_WALLET} FROM users AS wallet {_OF_WALLET} WHERE wallet.id = $1 {_IN_ORDER}",  # noqa: S608
)

PENDING: Final = Statement("pending_subscriptions", _PENDING.format(user="$1"))

# What was paid: the school may have changed the price since. What was returned is not paid any more.
PAID: Final = Statement(
    "paid_subscriptions",
    """
SELECT id, (
    SELECT coalesce(sum(entry.amount_minor), 0)::bigint FROM ledger_entries AS entry
    JOIN ledger_transactions AS booked ON booked.id = entry.transaction_id
    JOIN ledger_accounts AS account ON account.id = entry.account_id
    WHERE booked.subscription_id = subscriptions.id AND account.kind = 'subscription_revenue'
) AS amount_minor
FROM subscriptions
WHERE user_id = $1 AND status = 'active' AND (
    SELECT sum(CASE WHEN kind = 'activation' THEN 1 ELSE -1 END) FROM ledger_transactions AS booked
    WHERE booked.subscription_id = subscriptions.id
) > 0
ORDER BY created_at DESC, id DESC FOR UPDATE
""",
)

ACTIVATE: Final = Statement(
    "activate",
    "UPDATE subscriptions SET status = 'active', activated_at = $2, ends_at = coalesce(ends_at, $3) WHERE id = $1",
)

# An end that the school had set stays; the one that the activation set goes. In seconds: the database's zone would make
# another instant of days, where a clock was changed in between.
DEACTIVATE: Final = Statement(
    "deactivate",
    """
UPDATE subscriptions SET status = 'pending_payment', activated_at = NULL,
    ends_at = nullif(ends_at, activated_at + make_interval(secs => $2))
WHERE id = $1
""",
)

_ENTRIES: Final = "jsonb_to_recordset($1) AS entry(kind text, user_id bigint, provider text, amount_minor bigint)"
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
    "INSERT INTO ledger_accounts (kind, user_id, provider) SELECT kind, user_id, provider "  # noqa: S608
    f"FROM {_ENTRIES} WHERE {_ACCOUNT} IS NULL ON CONFLICT DO NOTHING",
)
POST: Final = Statement(
    "post",
    f"""
WITH booked AS (
    INSERT INTO ledger_transactions (kind, event_id, payment_id, subscription_id) VALUES ($3, $4, $5, $6) RETURNING id
)
INSERT INTO ledger_entries (transaction_id, account_id, amount_minor, currency)
SELECT booked.id, {_ACCOUNT}, entry.amount_minor, $2 FROM booked, {_ENTRIES}
""",  # noqa: S608
)
CREDIT: Final = Statement("credit", "UPDATE users SET balance_minor = balance_minor + $2 WHERE id = $1")

CLOSE: Final = Statement(
    "close_event",
    """
UPDATE webhook_events SET state = $2, reason = $3, payment_id = $4, processed_at = clock_timestamp(),
    next_attempt_at = NULL
WHERE id = $1
""",
)
PARK: Final = Statement(
    "park_event",
    "UPDATE webhook_events SET reason = $2, attempts = attempts + 1, next_attempt_at = $3 WHERE id = $1",
)

# One that is being settled right now is left to that: it may hold its row while it waits for this payment.
RELEASE: Final = Statement(
    "release_events",
    """
UPDATE webhook_events SET next_attempt_at = $3 WHERE id IN (
    SELECT id FROM webhook_events
    WHERE provider = $1 AND reference = $2 AND state = 'received' AND attempts > 0 AND next_attempt_at > $3
    FOR UPDATE SKIP LOCKED
)
""",
)

ANNOUNCE: Final = Statement("announce", outbox.ADD % ("$1", "$2"))

ALL: Final = (
    READ, LOCK_EVENT, LOCK_PAYMENT, CLAIM, FIND, OPEN, LOCK_OPENED, OPENED, SAVE, LOCK_WALLET, BALANCE, PENDING, PAID,
    ACTIVATE, DEACTIVATE, OPEN_ACCOUNTS, POST, CREDIT, CLOSE, PARK, RELEASE, ANNOUNCE,
)  # fmt: skip

#: Makes all of them known to a connection.
PREPARE: Final = ";".join(f"PREPARE {one.name} AS {one.text}" for one in ALL)
