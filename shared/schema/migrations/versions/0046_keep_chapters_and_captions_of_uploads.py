"""The chapters of an upload, and which captions came with one."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0046"
down_revision = "0044"


def upgrade() -> None:
    op.add_column("transcode_jobs", sa.Column("chapters", postgresql.JSONB(), nullable=True))
    op.add_column("captions", sa.Column("job_id", sa.BigInteger(), nullable=True))
