"""Terms that were changed before 0034 kept them: the ledger says what was paid for them."""

from alembic import op

revision = "0035"
down_revision = "0034"

# Paid once, and another amount now: the price was edited since. What was paid more than once, or returned, is left to
# the row itself.
_PRICES = """
INSERT INTO subscription_terms (subscription_id, activated_at, user_id, chapter_id, access_level, amount_minor, ends_at)
SELECT one.id, one.activated_at, one.user_id, one.chapter_id, one.access_level, paid.amount_minor, one.ends_at
FROM (
    SELECT booked.subscription_id, sum(entry.amount_minor)::bigint AS amount_minor
    FROM ledger_transactions AS booked
    JOIN ledger_entries AS entry ON entry.transaction_id = booked.id
    JOIN ledger_accounts AS account ON account.id = entry.account_id AND account.kind = 'subscription_revenue'
    WHERE booked.subscription_id IS NOT NULL
    GROUP BY booked.subscription_id HAVING count(*) = 1
) AS paid
JOIN subscriptions AS one ON one.id = paid.subscription_id
WHERE one.status <> 'pending_payment' AND one.activated_at IS NOT NULL AND one.amount_minor <> paid.amount_minor
ON CONFLICT DO NOTHING
"""

_NEVER_RAN = """
INSERT INTO subscription_terms (subscription_id, activated_at, user_id, chapter_id, access_level, amount_minor, ends_at,
                                stopped_at)
SELECT id, activated_at, user_id, chapter_id, access_level, amount_minor, ends_at, activated_at FROM subscriptions
WHERE activated_at IS NOT NULL
  AND (status = 'cancelled' AND ends_at IS NULL OR status = 'expired' AND (ends_at IS NULL OR ends_at > now()))
ON CONFLICT (subscription_id, activated_at) DO UPDATE SET stopped_at = EXCLUDED.stopped_at
"""


def upgrade() -> None:
    op.execute(_PRICES)
    op.execute(_NEVER_RAN)
