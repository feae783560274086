"""Which days were mailed to the head of school."""

from alembic import op

revision = "0088"
down_revision = "0080"


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE mailed_days (
            day date CONSTRAINT pk_mailed_days PRIMARY KEY,
            enqueued_at timestamptz NOT NULL DEFAULT now(),
            sent_at timestamptz
        )
        """
    )
