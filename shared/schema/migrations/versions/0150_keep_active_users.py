"""Who left a trace on the last days: a day's statistics count on from it, and read no month of facts again."""

import sqlalchemy as sa
from alembic import op

revision = "0150"
down_revision = "0142"


def upgrade() -> None:
    op.create_table(
        "daily_active_users",
        sa.Column("day", sa.Date(), primary_key=True),
        sa.Column("users", sa.LargeBinary(), nullable=False),
    )
