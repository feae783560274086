"""Table of what providers paid out to the school's bank, and the kinds of account and transaction that book it."""

import sqlalchemy as sa
from alembic import op

revision = "0155"
down_revision = "0154"

_INSTANT = sa.TIMESTAMP(timezone=True)

_KINDS = {
    "ledger_accounts": "'user_wallet', 'psp_clearing', 'psp_fees', 'subscription_revenue', 'dispute_withheld', "
    "'dispute_contested', 'dispute_losses', 'dispute_fees', 'adjustments', 'bank'",
    "ledger_transactions": "'payment', 'refund', 'refund_reversed', 'dispute_withheld', 'dispute_released', "
    "'dispute_lost', 'dispute_fee', 'activation', 'deactivation', 'adjustment', 'payout'",
}


def upgrade() -> None:
    op.create_table(
        "provider_payouts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("paid_on", sa.Date(), nullable=False),
        sa.Column("actor_name", sa.Text(), nullable=False),
        sa.Column("created_at", _INSTANT, server_default=sa.text("now()"), nullable=False),
        sa.Column("transaction_id", sa.BigInteger(), nullable=True),
        sa.Column("booked_at", _INSTANT, nullable=True),
        sa.Column("refusal", sa.Text(), nullable=True),
        sa.CheckConstraint("amount_minor <> 0", name=op.f("ck_provider_payouts_amount_not_zero")),
        sa.ForeignKeyConstraint(
            ["transaction_id"],
            ["ledger_transactions.id"],
            name=op.f("fk_provider_payouts_transaction_id_ledger_transactions"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_provider_payouts")),
    )
    op.create_index(
        "uq_provider_payouts_reference",
        "provider_payouts",
        ["provider", "reference"],
        unique=True,
        postgresql_where=sa.text("refusal IS NULL"),
    )
    op.create_index(
        "ix_provider_payouts_due",
        "provider_payouts",
        ["id"],
        postgresql_where=sa.text("booked_at IS NULL AND refusal IS NULL"),
    )
    op.execute(
        "CREATE TRIGGER provider_payouts_not_truncated BEFORE TRUNCATE ON provider_payouts"
        " FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncate()"
    )
    for table, kinds in _KINDS.items():
        name = f"ck_{table}_kind_known"
        # wider than before, so every row fits: NOT VALID spares reading them while payments wait
        op.execute(
            f"ALTER TABLE {table} DROP CONSTRAINT {name}, ADD CONSTRAINT {name} CHECK (kind IN ({kinds})) NOT VALID"
        )
