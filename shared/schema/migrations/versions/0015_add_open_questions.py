"""Open questions are found by their order."""

from shared.schema.migrations.concurrently import create_index

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    create_index(
        "ix_webhook_events_questions",
        "webhook_events (reference, provider) WHERE state = 'received' AND NOT signed",
    )
