"""A provider's refunds, disputes and fees of a payment one by one, who its customers are, and what a payment is for."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"

_INSTANT = sa.TIMESTAMP(timezone=True)

_ACCOUNTS = (
    "kind IN ('user_wallet', 'psp_clearing', 'psp_fees', 'subscription_revenue', 'dispute_withheld', "
    "'dispute_contested', 'dispute_losses', 'dispute_fees', 'adjustments')"
)
_TRANSACTIONS = (
    "kind IN ('payment', 'refund', 'refund_reversed', 'dispute_withheld', 'dispute_released', 'dispute_lost', "
    "'dispute_fee', 'activation', 'deactivation', 'adjustment')"
)


def upgrade() -> None:
    for name, kind in (
        ("registered_minor", sa.BigInteger()),
        ("amount_told_at", _INSTANT),
        ("refunded_total_minor", sa.BigInteger()),
        ("refunded_told_at", _INSTANT),
        ("subscription_id", sa.BigInteger()),
        ("registered_subscription_id", sa.BigInteger()),
    ):
        op.add_column("payments", sa.Column(name, kind, nullable=True))
    op.create_table(
        "payment_objects",
        sa.Column("payment_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("object_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("began_at", _INSTANT, nullable=True),
        sa.Column("ended_at", _INSTANT, nullable=True),
        sa.CheckConstraint(
            "kind = 'refund' AND state IN ('pending', 'succeeded', 'canceled', 'failed') "
            "OR kind = 'dispute' AND state IN ('inquiry', 'open', 'won', 'lost') "
            "OR kind = 'fee' AND state IN ('payment', 'dispute')",
            name=op.f("ck_payment_objects_state_known"),
        ),
        sa.CheckConstraint("amount_minor >= 0 OR kind = 'fee'", name=op.f("ck_payment_objects_amount_not_negative")),
        sa.ForeignKeyConstraint(["payment_id"], ["payments.id"], name=op.f("fk_payment_objects_payment_id_payments")),
        sa.PrimaryKeyConstraint("payment_id", "kind", "object_id", name=op.f("pk_payment_objects")),
    )
    op.create_table(
        "payment_links",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("object_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=True),
        sa.Column("reference", sa.Text(), nullable=True),
        sa.Column("created_at", _INSTANT, server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_payment_links_user_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payment_links")),
        sa.UniqueConstraint(
            "provider",
            "object_id",
            "user_id",
            "reference",
            name=op.f("uq_payment_links_provider_object_id_user_id_reference"),
            postgresql_nulls_not_distinct=True,
        ),
    )
    for table, condition in (("ledger_accounts", _ACCOUNTS), ("ledger_transactions", _TRANSACTIONS)):
        name = op.f(f"ck_{table}_kind_known")
        op.drop_constraint(name, table, type_="check")
        # 0018 validates it, without a lock that payments wait for
        op.create_check_constraint(name, table, condition, postgresql_not_valid=True)
    op.create_table(
        "kept_subscriptions",
        sa.Column("subscription_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(
            ["subscription_id"], ["subscriptions.id"], name=op.f("fk_kept_subscriptions_subscription_id_subscriptions")
        ),
        sa.PrimaryKeyConstraint("subscription_id", name=op.f("pk_kept_subscriptions")),
    )
