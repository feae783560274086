"""When a kept day was last compared with a rebuild from the facts, and what that found."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("daily_stats_newest", sa.Column("verified_at", sa.TIMESTAMP(timezone=True), nullable=True))
    op.add_column("daily_stats_newest", sa.Column("differences", sa.Integer(), nullable=True))
