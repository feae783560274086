"""What a lesson stores, said once when it is complete: the statistics read every part of every lesson for it."""

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"


def upgrade() -> None:
    op.add_column("transcode_jobs", sa.Column("stored_bytes", sa.BigInteger(), nullable=True))
