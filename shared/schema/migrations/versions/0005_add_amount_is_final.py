"""A payment whose amount was only told by a hold or a failed attempt."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column(
        "payments", sa.Column("amount_is_final", sa.Boolean(), server_default=sa.text("true"), nullable=False)
    )
