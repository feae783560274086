"""When a provider is asked about a payment that nobody has told the end of."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("payments", sa.Column("asks", sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.add_column("payments", sa.Column("asked_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column(
        "payments",
        sa.Column(
            "next_ask_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("(now() + '00:02:00'::interval)"),
            nullable=True,
        ),
    )
    op.create_index(
        "ix_payments_unfinished",
        "payments",
        ["provider", "next_ask_at"],
        postgresql_where=sa.text("status IN ('pending', 'authorized')"),
    )
