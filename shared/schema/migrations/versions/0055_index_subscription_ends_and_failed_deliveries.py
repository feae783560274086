"""Indexes for the events worker: active subscriptions by their end, and failed deliveries by endpoint."""

from shared.schema.migrations.concurrently import create_index

revision = "0055"
down_revision = "0054"


def upgrade() -> None:
    create_index("ix_subscriptions_active_ends_at", "subscriptions (ends_at) WHERE status = 'active'")
    create_index("ix_webhook_deliveries_failed", "webhook_deliveries (endpoint_id, id) WHERE state = 'failed'")
