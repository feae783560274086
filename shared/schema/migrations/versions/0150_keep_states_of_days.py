"""What a day leaves to those after it: their statistics count on from it, and read no month of facts again."""

import sqlalchemy as sa
from alembic import op

revision = "0150"
down_revision = "0142"


def upgrade() -> None:
    op.create_table(
        "daily_states",
        sa.Column("day", sa.Date(), primary_key=True),
        sa.Column("active_users", sa.LargeBinary(), nullable=True),
        sa.Column("subscribers", sa.LargeBinary(), nullable=True),
        sa.Column("grace_days", sa.Integer(), nullable=False),
    )
