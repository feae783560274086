"""Fills the times of what was kept before 0017, and indexes completed payments by their order; payments go on."""

from alembic import op

from shared.schema.migrations.concurrently import create_index

revision = "0018"
down_revision = "0017"

# What was refunded was true when the last event of the payment was applied: what its provider told later is newer.
_DATE_REFUNDS = """
UPDATE payments SET refunded_total_minor = refunded_minor, refunded_told_at = (
    SELECT max(received_at) FROM webhook_events WHERE payment_id = payments.id AND state = 'applied')
WHERE refunded_minor > 0 AND refunded_total_minor IS NULL
"""

# Which subscriptions a wallet pays followed another rule until now: what runs by it goes on.
_KEEP_SUBSCRIPTIONS = """
INSERT INTO kept_subscriptions (subscription_id)
SELECT id FROM subscriptions WHERE status = 'active' AND EXISTS (
    SELECT FROM ledger_transactions WHERE subscription_id = subscriptions.id AND kind = 'activation')
ON CONFLICT DO NOTHING
"""


# The index is built outside of the transaction: all of this may run a second time.
def upgrade() -> None:
    op.execute(_DATE_REFUNDS)
    op.execute(_KEEP_SUBSCRIPTIONS)
    for table in ("ledger_accounts", "ledger_transactions"):
        op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT ck_{table}_kind_known")
    create_index("ix_payments_order_number", "payments (order_number) WHERE completed_at IS NOT NULL")
