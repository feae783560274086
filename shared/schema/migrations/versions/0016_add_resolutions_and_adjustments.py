"""Operators' decisions about quarantined events, and corrections of wallets as rows of their own."""

import re

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"

_DEFINITION = "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = :name"


def upgrade() -> None:
    op.add_column("webhook_events", sa.Column("resolution", sa.Text(), nullable=True))
    op.create_check_constraint(
        op.f("ck_webhook_events_resolution_known"), "webhook_events", "resolution IN ('accepted', 'dismissed')"
    )
    op.create_index(
        "ix_webhook_events_undecided",
        "webhook_events",
        ["id"],
        unique=False,
        postgresql_where=sa.text("state IN ('quarantined', 'dead') AND resolution IS NULL"),
    )
    op.create_index(
        "ix_webhook_events_payment_id",
        "webhook_events",
        ["payment_id"],
        unique=False,
        postgresql_where=sa.text("payment_id IS NOT NULL"),
    )
    _allow("ledger_accounts", "adjustments")
    _allow("ledger_transactions", "adjustment")
    op.create_table(
        "ledger_adjustments",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("payment_id", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("actor_name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("transaction_id", sa.BigInteger(), nullable=True),
        sa.Column("booked_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("refusal", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_ledger_adjustments_user_id_users")),
        sa.ForeignKeyConstraint(
            ["payment_id"], ["payments.id"], name=op.f("fk_ledger_adjustments_payment_id_payments")
        ),
        sa.ForeignKeyConstraint(
            ["transaction_id"],
            ["ledger_transactions.id"],
            name=op.f("fk_ledger_adjustments_transaction_id_ledger_transactions"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_adjustments")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_ledger_adjustments_idempotency_key")),
        sa.CheckConstraint("amount_minor <> 0", name=op.f("ck_ledger_adjustments_amount_not_zero")),
    )
    op.create_index(op.f("ix_ledger_adjustments_user_id"), "ledger_adjustments", ["user_id"], unique=False)
    op.create_index(
        "ix_ledger_adjustments_due",
        "ledger_adjustments",
        ["id"],
        unique=False,
        postgresql_where=sa.text("booked_at IS NULL AND refusal IS NULL"),
    )


def _allow(table: str, kind: str) -> None:
    """One more word in the table's column `kind`; those that other migrations have added stay."""
    name = f"ck_{table}_kind_known"
    known = re.findall(r"'([a-z_]+)'", op.get_bind().scalar(sa.text(_DEFINITION), {"name": name}) or "")
    words = ", ".join(f"'{one}'" for one in [*known, kind])
    op.drop_constraint(op.f(name), table, type_="check")
    op.create_check_constraint(op.f(name), table, f"kind IN ({words})")
