"""Closed months of the statistics: which are closed, which version of their days is shown, what came later."""

import sqlalchemy as sa
from alembic import op

revision = "0052"
down_revision = "0040"

_INSTANT = sa.TIMESTAMP(timezone=True)

_IMMUTABLE = """
CREATE FUNCTION refuse_change_of_closed_month() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a closed month is never changed; what comes later is a correction in the open month'
        USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER closed_months_immutable BEFORE UPDATE OR DELETE ON closed_months
    FOR EACH ROW EXECUTE FUNCTION refuse_change_of_closed_month();
CREATE TRIGGER closed_day_corrections_immutable BEFORE UPDATE OR DELETE ON closed_day_corrections
    FOR EACH ROW EXECUTE FUNCTION refuse_change_of_closed_month();
CREATE TRIGGER daily_stats_newest_closed BEFORE UPDATE ON daily_stats_newest FOR EACH ROW
    WHEN (OLD.facts_version IS NOT NULL
          AND (NEW.facts_version IS NULL OR (NEW.day, NEW.version) IS DISTINCT FROM (OLD.day, OLD.version)))
    EXECUTE FUNCTION refuse_change_of_closed_month();
CREATE TRIGGER daily_stats_newest_closed_deleted BEFORE DELETE ON daily_stats_newest FOR EACH ROW
    WHEN (OLD.facts_version IS NOT NULL) EXECUTE FUNCTION refuse_change_of_closed_month();
"""


def upgrade() -> None:
    op.create_table(
        "closed_months",
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("closed_at", _INSTANT, server_default=sa.text("now()"), nullable=False),
        sa.Column("closed_by", sa.Text(), nullable=False),
        sa.CheckConstraint("extract(day FROM month) = 1", name=op.f("ck_closed_months_is_first_day")),
        sa.PrimaryKeyConstraint("month", name=op.f("pk_closed_months")),
    )
    op.create_table(
        "closed_day_corrections",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("booked_on", sa.Date(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=True),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("adds_up", sa.Boolean(), nullable=False),
        sa.Column("found_at", _INSTANT, server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["day", "version"],
            ["daily_stats.day", "daily_stats.version"],
            name=op.f("fk_closed_day_corrections_day_version"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_closed_day_corrections")),
    )
    op.create_index(op.f("ix_closed_day_corrections_booked_on"), "closed_day_corrections", ["booked_on", "number"])
    op.create_index(op.f("ix_closed_day_corrections_day"), "closed_day_corrections", ["day", "number"])
    op.add_column("daily_stats_newest", sa.Column("facts_version", sa.Integer(), nullable=True))
    op.execute(_IMMUTABLE)
