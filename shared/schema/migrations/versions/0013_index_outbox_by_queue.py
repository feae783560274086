"""Index of the outbox by service and queue: the relay publishes each queue by itself."""

from shared.schema.migrations.concurrently import create_index

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    create_index("ix_outbox_service_queue", "outbox (service, (message ->> 'queue_name'), id)")
