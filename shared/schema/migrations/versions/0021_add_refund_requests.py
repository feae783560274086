"""Refunds that operators ask for, as rows of their own until their provider has answered."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"

_INSTANT = sa.TIMESTAMP(timezone=True)


def upgrade() -> None:
    op.create_table(
        "refund_requests",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=False),
        sa.Column("payment_id", sa.BigInteger(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("actor_name", sa.Text(), nullable=False),
        sa.Column("created_at", _INSTANT, server_default=sa.text("now()"), nullable=False),
        sa.Column("state", sa.Text(), server_default="requested", nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_attempt_at", _INSTANT, server_default=sa.text("now()"), nullable=False),
        sa.Column("refunded_before_minor", sa.BigInteger(), nullable=True),
        sa.Column("event_id", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["payment_id"], ["payments.id"], name=op.f("fk_refund_requests_payment_id_payments")),
        sa.ForeignKeyConstraint(
            ["event_id"], ["webhook_events.id"], name=op.f("fk_refund_requests_event_id_webhook_events")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refund_requests")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_refund_requests_idempotency_key")),
        sa.CheckConstraint(
            "state IN ('requested', 'sending', 'accepted', 'refused', 'unknown')",
            name=op.f("ck_refund_requests_state_known"),
        ),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_refund_requests_amount_positive")),
    )
    op.create_index(op.f("ix_refund_requests_payment_id"), "refund_requests", ["payment_id"], unique=False)
    op.create_index(
        "ix_refund_requests_due",
        "refund_requests",
        ["next_attempt_at"],
        unique=False,
        postgresql_where=sa.text("state IN ('requested', 'sending')"),
    )
