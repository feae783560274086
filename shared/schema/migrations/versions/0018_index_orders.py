"""Completed payments are found by their order; the ledger's kinds are validated while payments go on."""

from alembic import op

from shared.schema.migrations.concurrently import create_index

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    for table in ("ledger_accounts", "ledger_transactions"):
        op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT ck_{table}_kind_known")
    create_index("ix_payments_order_number", "payments (order_number) WHERE completed_at IS NOT NULL")
