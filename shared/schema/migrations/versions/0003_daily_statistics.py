"""The daily statistics: immutable versions, the pointer to the newest, and where a day's facts are found."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"

_IMMUTABLE = """
CREATE FUNCTION refuse_change_of_statistics() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'versions in daily_stats are never changed or deleted; compute the day again for a new one'
        USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER daily_stats_immutable BEFORE UPDATE OR DELETE ON daily_stats
    FOR EACH ROW EXECUTE FUNCTION refuse_change_of_statistics();
"""


def upgrade() -> None:
    op.create_table(
        "daily_stats",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("payload", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("etag", sa.Text(), nullable=False),
        sa.Column("body_gzip", sa.LargeBinary(), nullable=False),
        sa.Column("complete", sa.Boolean(), nullable=False),
        sa.Column("watermark", sa.Text(), nullable=False),
        sa.Column("computed_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("day", "version", name=op.f("pk_daily_stats")),
    )
    op.execute(_IMMUTABLE)
    op.create_table(
        "daily_stats_newest",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("failed", sa.Boolean(), nullable=False),
        sa.Column("checked_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["day", "version"],
            ["daily_stats.day", "daily_stats.version"],
            name=op.f("fk_daily_stats_newest_day_version"),
        ),
        sa.PrimaryKeyConstraint("day", name=op.f("pk_daily_stats_newest")),
    )
    op.add_column("changed_days", sa.Column("changes", sa.BigInteger(), server_default=sa.text("1"), nullable=False))
    for table, column in (
        ("attendances", "checked_in_at"),
        ("ledger_transactions", "created_at"),
        ("payments", "completed_at"),
        ("payments", "created_at"),
        ("sessions", "starts_at"),
        ("subscriptions", "created_at"),
        ("webhook_events", "processed_at"),
        ("webhook_events", "received_at"),
    ):
        op.create_index(
            f"brin_{table}_{column}",
            table,
            [column],
            postgresql_using="brin",
            postgresql_with={"pages_per_range": 32, "autosummarize": "on"},
        )
