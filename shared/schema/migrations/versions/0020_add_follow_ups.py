"""Collected payments of a provider whose answers tell fees, refunds and disputes are found by when they are due."""

from shared.schema.migrations.concurrently import create_index

revision = "0020"
down_revision = "0018"


def upgrade() -> None:
    create_index(
        "ix_payments_follow_ups",
        "payments (provider, next_ask_at) "
        "WHERE provider = 'stripe' AND completed_at IS NOT NULL AND next_ask_at IS NOT NULL",
    )
