"""Index of unsigned events that are not settled yet, by their order: the provider is polled about them."""

from shared.schema.migrations.concurrently import create_index

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    create_index(
        "ix_webhook_events_questions",
        "webhook_events (reference, provider) WHERE state = 'received' AND NOT signed",
    )
