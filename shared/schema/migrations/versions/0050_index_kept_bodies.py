"""Bodies that are not erased yet, oldest first: for the retention of bodies."""

from shared.schema.migrations.concurrently import create_index

revision = "0050"
down_revision = "0049"


def upgrade() -> None:
    create_index("ix_webhook_events_kept_bodies", "webhook_events (received_at) WHERE body_erased_at IS NULL")
