"""Which end of a subscription the gateway set: a changed NOUBA_SUBSCRIPTION_DAYS must not make it the school's."""

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0022"


def upgrade() -> None:
    op.add_column("subscriptions", sa.Column("granted_until", sa.TIMESTAMP(timezone=True), nullable=True))
