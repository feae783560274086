"""The statements of the books, as PostgreSQL gets them: several in one text cost one round trip.

Each statement of a text sees what was committed until it began, so that a row is read after its lock was waited for.
"""

from typing import Final

_PAYMENT: Final = (
    "id, provider, provider_reference, order_number, user_id, amount_minor, amount_is_final, currency, status, "
    "refunded_minor, dispute, credited_minor, fee_minor, method, failure_reason, completed_at"
)

READ: Final = (
    "SELECT id, provider, method, headers, body, received_at, attempts FROM webhook_events "
    "WHERE id = %s AND state = 'received'"
)

# FOR NO KEY UPDATE everywhere: what refers to the row (a payment that is being opened) holds a key share of it.
CLAIM: Final = f"""
SELECT FROM webhook_events WHERE id = %s FOR UPDATE;
SELECT event.state AS event_state, event.provider AS event_provider, event.reference AS event_reference, payment.*
FROM webhook_events AS event LEFT JOIN LATERAL (
    SELECT {_PAYMENT} FROM payments
    WHERE provider = event.provider AND provider_reference = event.reference FOR NO KEY UPDATE
) AS payment ON true
WHERE event.id = %s
"""  # noqa: S608

FIND: Final = f"""
SELECT {_PAYMENT} FROM payments
WHERE provider = %s AND (provider_reference = %s OR order_number = %s)
ORDER BY CASE WHEN provider_reference = %s THEN 0 WHEN provider_reference IS NULL THEN 1 ELSE 2 END, id
LIMIT 1 FOR NO KEY UPDATE
"""  # noqa: S608

OPEN: Final = f"""
INSERT INTO payments
    (provider, provider_reference, order_number, user_id, amount_minor, amount_is_final, currency)
VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (provider, provider_reference) DO NOTHING;
SELECT {_PAYMENT} FROM payments WHERE provider = %s AND provider_reference = %s FOR NO KEY UPDATE
"""  # noqa: S608

SAVE: Final = """
UPDATE payments SET provider_reference = %s, order_number = %s, amount_minor = %s, amount_is_final = %s, status = %s,
    refunded_minor = %s, dispute = %s, credited_minor = %s, fee_minor = %s, method = %s, failure_reason = %s,
    completed_at = %s
WHERE id = %s
"""

# A lock here would come before the payment's: two settlements of a new payment could wait for each other.
HAS_USER: Final = "SELECT id FROM users WHERE id = %s"

_PENDING: Final = """
SELECT id, amount_minor, created_at FROM subscriptions
WHERE user_id = %s AND status = 'pending_payment' ORDER BY created_at, id FOR UPDATE
"""

BALANCE: Final = f"""
SELECT FROM users WHERE id = %s FOR NO KEY UPDATE;
SELECT users.balance_minor, pending.id, pending.amount_minor
FROM users LEFT JOIN LATERAL ({_PENDING}) AS pending ON true
WHERE users.id = %s ORDER BY pending.created_at, pending.id
"""  # noqa: S608

PENDING: Final = _PENDING

# What was paid: the school may have changed the price since. What was returned is not paid any more.
PAID: Final = """
SELECT id, (
    SELECT coalesce(sum(entry.amount_minor), 0)::bigint FROM ledger_entries AS entry
    JOIN ledger_transactions AS booked ON booked.id = entry.transaction_id
    JOIN ledger_accounts AS account ON account.id = entry.account_id
    WHERE booked.subscription_id = subscriptions.id AND account.kind = 'subscription_revenue'
) AS amount_minor
FROM subscriptions
WHERE user_id = %s AND status = 'active' AND (
    SELECT sum(CASE WHEN kind = 'activation' THEN 1 ELSE -1 END) FROM ledger_transactions AS booked
    WHERE booked.subscription_id = subscriptions.id
) > 0
ORDER BY created_at DESC, id DESC FOR UPDATE
"""

ACTIVATE: Final = """
UPDATE subscriptions SET status = 'active', activated_at = %s, ends_at = coalesce(ends_at, %s) WHERE id = %s
"""

# An end that the school had set stays; the one that the activation set goes. In seconds: the database's zone would make
# another instant of days, where a clock was changed in between.
DEACTIVATE: Final = """
UPDATE subscriptions SET status = 'pending_payment', activated_at = NULL,
    ends_at = nullif(ends_at, activated_at + make_interval(secs => %s))
WHERE id = %s
"""

# The columns of an account that are its owner's; `=` and `IS NULL`, unlike `IS NOT DISTINCT FROM`, find by an index.
OF_USER: Final = "kind = %s AND user_id = %s AND provider IS NULL"
OF_PROVIDER: Final = "kind = %s AND user_id IS NULL AND provider = %s"
OF_SCHOOL: Final = "kind = %s AND user_id IS NULL AND provider IS NULL"

CREDIT: Final = "UPDATE users SET balance_minor = balance_minor + %s WHERE id = %s"

CLOSE: Final = """
UPDATE webhook_events SET state = %s, reason = %s, payment_id = %s, processed_at = clock_timestamp(),
    next_attempt_at = NULL
WHERE id = %s
"""

PARK: Final = "UPDATE webhook_events SET reason = %s, attempts = attempts + 1, next_attempt_at = %s WHERE id = %s"

# One that is being settled right now is left to that: it may hold its row while it waits for this payment.
RELEASE: Final = """
UPDATE webhook_events SET next_attempt_at = %s WHERE id IN (
    SELECT id FROM webhook_events
    WHERE provider = %s AND reference = %s AND state = 'received' AND attempts > 0 AND next_attempt_at > %s
    FOR UPDATE SKIP LOCKED
)
"""


def open_account(found_by: str) -> str:
    """Opens an account where there is none that is `found_by` these columns; the values come twice."""
    columns = {OF_USER: "user_id", OF_PROVIDER: "provider"}
    owner = columns.get(found_by)
    names, values = ("kind, " + owner, "%s, %s") if owner else ("kind", "%s")
    return (
        f"INSERT INTO ledger_accounts ({names}) SELECT {values} "  # noqa: S608
        f"WHERE NOT EXISTS (SELECT FROM ledger_accounts WHERE {found_by}) ON CONFLICT DO NOTHING"
    )


def post(accounts: list[str]) -> str:
    """Books a transaction with an entry for each account, which is found by these columns."""
    booked = "INSERT INTO ledger_transactions (kind, event_id, payment_id, subscription_id) VALUES (%s, %s, %s, %s)"
    if not accounts:
        return booked
    rows = ", ".join(
        f"((SELECT id FROM ledger_accounts WHERE {account}), %s::bigint, %s)"  # noqa: S608
        for account in accounts
    )
    return (
        f"WITH booked AS ({booked} RETURNING id) "  # noqa: S608
        "INSERT INTO ledger_entries (transaction_id, account_id, amount_minor, currency) "
        f"SELECT booked.id, entry.* FROM booked, (VALUES {rows}) AS entry"
    )
