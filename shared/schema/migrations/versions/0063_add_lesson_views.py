"""Who watched which lesson on which day, as players report it, and how that is erased."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import BIT

revision = "0063"
down_revision = "0056"

_USER = "CASE WHEN viewer ~ '^[1-9][0-9]{0,17}$' THEN viewer::bigint END"
_NAMED = "course_id <> 0 AND viewer NOT LIKE '~%'"

_FILL = """
CREATE FUNCTION fill_lesson_view() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS $$
BEGIN
    NEW.chapter_id := (SELECT chapter_id FROM courses WHERE id = NEW.course_id);
    RETURN NEW;
END $$;
REVOKE ALL ON FUNCTION fill_lesson_view FROM PUBLIC;
CREATE TRIGGER lesson_views_fill BEFORE INSERT ON lesson_views FOR EACH ROW EXECUTE FUNCTION fill_lesson_view();
"""

# A viewer gets another random name for each day: the day's numbers stay the same, and the days cannot be joined. That a
# user was there on the day is left in a row of no lesson, because the numbers of active users need it.
_FORGET = """
    named AS MATERIALIZED (SELECT viewer, user_id, day, '~' || gen_random_uuid() AS name FROM due),
    here AS (
        INSERT INTO lesson_views (viewer, course_id, day, played_ms, parts, last_at)
        SELECT viewer, 0, day, 0, 0::bit(100), day::timestamptz FROM named WHERE user_id IS NOT NULL
        ON CONFLICT DO NOTHING),
    renamed AS (
        UPDATE lesson_views AS view SET viewer = named.name FROM named
        WHERE view.viewer = named.viewer AND view.day = named.day AND view.course_id <> 0
          -- the rows of these viewers alone are read, whatever the planner believes of the table
          AND view.viewer = ANY (ARRAY(SELECT viewer FROM due)))
    SELECT count(*)::integer FROM due;
"""
_RETENTION = f"""
CREATE FUNCTION forget_lessons(watched_before timestamptz, at_most integer) RETURNS integer
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH due AS (
        SELECT viewer, min(user_id) AS user_id, day FROM lesson_views
        WHERE day < (least(watched_before, now() - interval '1 day'))::date AND {_NAMED}
        GROUP BY day, viewer ORDER BY day, viewer LIMIT at_most),{_FORGET}$$;
REVOKE ALL ON FUNCTION forget_lessons FROM PUBLIC;
CREATE FUNCTION forget_lessons_of_user(of_user bigint) RETURNS integer
LANGUAGE sql SET search_path = public, pg_temp AS $$
    WITH due AS (
        SELECT viewer, min(user_id) AS user_id, day FROM lesson_views
        WHERE viewer = of_user::text AND course_id <> 0 GROUP BY day, viewer),{_FORGET}$$;
REVOKE ALL ON FUNCTION forget_lessons_of_user FROM PUBLIC;
"""  # noqa: S608


def upgrade() -> None:
    op.create_table(
        "lesson_views",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("viewer", sa.Text(), nullable=False),
        sa.Column("course_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), sa.Computed(_USER, persisted=True), nullable=True),
        sa.Column("chapter_id", sa.BigInteger(), nullable=True),
        sa.Column("played_ms", sa.BigInteger(), nullable=False),
        sa.Column("parts", BIT(100), nullable=False),
        sa.Column("last_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("played_ms BETWEEN 0 AND 86400000", name=op.f("ck_lesson_views_played_ms_of_a_day")),
        sa.PrimaryKeyConstraint("viewer", "course_id", "day", name=op.f("pk_lesson_views")),
    )
    op.create_index("ix_lesson_views_named", "lesson_views", ["day", "viewer"], postgresql_where=sa.text(_NAMED))
    op.create_index(
        "brin_lesson_views_day",
        "lesson_views",
        ["day"],
        postgresql_using="brin",
        postgresql_with={"pages_per_range": 32, "autosummarize": "on"},
    )
    op.execute(_FILL)
    op.execute(_RETENTION)
