"""What a finished lesson lacks, for its teacher."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    op.add_column("transcode_jobs", sa.Column("warnings", postgresql.JSONB(), nullable=True))
