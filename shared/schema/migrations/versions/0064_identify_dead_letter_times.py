"""The rows behind the number of dead letters have an id."""

from alembic import op

revision = "0064"
down_revision = "0063"


def upgrade() -> None:
    op.execute("CREATE OR REPLACE VIEW dead_letter_times AS SELECT queue, died_at, id FROM dead_letters")
