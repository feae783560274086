"""Index of parked events by their payment, however many events wait."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.drop_index("ix_webhook_events_waiting_reference", table_name="webhook_events")
    op.create_index(
        "ix_webhook_events_parked",
        "webhook_events",
        ["reference", "provider"],
        unique=False,
        postgresql_where=sa.text("attempts > 0 AND processed_at IS NULL"),
    )
