"""A session that is written late invalidates the four weeks of statistics that it counts in."""

from alembic import op

revision = "0054"
down_revision = "0053"

_COUNTED = "SELECT id, starts_at AS at, chapter_id, teacher_id FROM"

# as in 0012, which notes the session's own day
_NOTE = """
        INSERT INTO late_days (first_day, last_day)
        SELECT DISTINCT (at AT TIME ZONE 'UTC' - interval '12 hours')::date,
               (least(at + interval '27 days', now() - interval '2 days') AT TIME ZONE 'UTC' + interval '14 hours')::date
        FROM ({instants}) AS moved (at)
        WHERE isfinite(at) AND at < now() - interval '2 days';"""

_INSERTED = _NOTE.format(instants="SELECT starts_at FROM new_rows")
_DELETED = _NOTE.format(instants="SELECT starts_at FROM old_rows")
_UPDATED = _NOTE.format(
    instants=f"SELECT at FROM (({_COUNTED} old_rows EXCEPT {_COUNTED} new_rows) UNION ALL "  # noqa: S608
    f"({_COUNTED} new_rows EXCEPT {_COUNTED} old_rows)) AS changed"
)


def upgrade() -> None:
    op.execute(f"""
CREATE OR REPLACE FUNCTION note_late_sessions() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN{_INSERTED}
    ELSIF TG_OP = 'DELETE' THEN{_DELETED}
    ELSE{_UPDATED}
    END IF;
    RETURN NULL;
END $$;
""")
