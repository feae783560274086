"""Adds to webhook events their tries and the time of the first, by which parked events are given up."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.add_column("webhook_events", sa.Column("tries", sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.add_column("webhook_events", sa.Column("taken_up_at", sa.TIMESTAMP(timezone=True), nullable=True))
