"""Failed payments of a provider where a payer may try again are found by when they are due."""

from shared.schema.migrations.concurrently import create_index

revision = "0036"
down_revision = "0025"


def upgrade() -> None:
    create_index(
        "ix_payments_failed",
        "payments (provider, next_ask_at) WHERE provider = 'stripe' AND status = 'failed' AND next_ask_at IS NOT NULL",
    )
