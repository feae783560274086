"""Orders in an index without the payments that have none: without statistics the planner took it for a reference."""

from shared.schema.migrations.concurrently import create_index, drop_index

revision = "0151"
down_revision = "0150"


def upgrade() -> None:
    create_index("ix_payments_provider_order", "payments (provider, order_number) WHERE order_number IS NOT NULL")
    drop_index("ix_payments_provider_order_number")
