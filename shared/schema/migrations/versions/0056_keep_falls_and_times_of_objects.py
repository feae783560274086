"""By how much a total of refunds fell when it was reported, and when the amount of a dispute was reported."""

import sqlalchemy as sa
from alembic import op

revision = "0056"
down_revision = "0047"


def upgrade() -> None:
    op.add_column("payments", sa.Column("refunded_fell_minor", sa.BigInteger()))
    op.add_column("payment_objects", sa.Column("reported_at", sa.DateTime(timezone=True)))
