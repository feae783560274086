"""Open questions are found by their order."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0012"


def upgrade() -> None:
    op.create_index(
        "ix_webhook_events_questions",
        "webhook_events",
        ["reference", "provider"],
        unique=False,
        postgresql_where=sa.text("(state = 'received') AND (NOT signed)"),
    )
