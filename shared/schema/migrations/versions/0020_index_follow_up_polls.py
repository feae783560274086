"""Index of collected payments whose next poll is due: the provider's answer tells fees, refunds and disputes."""

from shared.schema.migrations.concurrently import create_index

revision = "0020"
down_revision = "0018"


def upgrade() -> None:
    create_index(
        "ix_payments_follow_ups",
        "payments (provider, next_ask_at) "
        "WHERE provider = 'stripe' AND completed_at IS NOT NULL AND next_ask_at IS NOT NULL",
    )
