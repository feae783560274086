"""The relay publishes each queue by itself: each of its lanes reads the rows of one queue."""

from shared.schema.migrations.concurrently import create_index

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    create_index("ix_outbox_service_queue", "outbox (service, (message ->> 'queue_name'), id)")
