"""Index of failed payments by when they are due to be polled again."""

from shared.schema.migrations.concurrently import create_index

revision = "0036"
down_revision = "0025"


def upgrade() -> None:
    create_index(
        "ix_payments_failed",
        "payments (provider, next_ask_at) WHERE provider = 'stripe' AND status = 'failed' AND next_ask_at IS NOT NULL",
    )
