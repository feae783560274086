"""Console sessions end when their person leaves, and the audit names the credential of each act."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0035"


def upgrade() -> None:
    op.create_table(
        "console_sessions",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("credential", sa.Text(), nullable=False),
        sa.Column("entered_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_console_sessions")),
        sa.CheckConstraint("octet_length(digest) = 32", name=op.f("ck_console_sessions_digest_is_sha256")),
    )
    op.add_column("operator_acts", sa.Column("credential", sa.Text(), nullable=True))
