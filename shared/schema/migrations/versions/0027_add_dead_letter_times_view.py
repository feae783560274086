"""View of the times of dead letters, for the statistics' role, which sees letters of its own queues alone."""

from alembic import op

revision = "0027"
down_revision = "0026"


def upgrade() -> None:
    # a view has its owner's rights, and so every queue's rows
    op.execute("CREATE VIEW dead_letter_times AS SELECT queue, died_at FROM dead_letters")
