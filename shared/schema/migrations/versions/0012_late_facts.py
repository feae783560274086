"""The database itself notes which old days the school's application changes; kept days are not emptied either."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"

# Younger facts are found by the statistics' own looks at the last days, so what is written as it happens marks nothing.
_LATE = "interval '2 days'"

# The database does not know the school's zone: a day is marked if it has the instant in any zone, from twelve hours
# behind UTC to fourteen before it. A day in which nothing is new gets no new version.
# Until a transaction ends nobody sees what it marked, so it marks a day once: a row that one transaction writes again
# and again gets slower with every time. In order, so that two of these never wait for each other.
_MARK = """
CREATE FUNCTION mark_days_of(instants timestamptz[]) RETURNS void LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO changed_days (day)
    SELECT DISTINCT number::date AS day
    FROM unnest(instants) AS at,
         generate_series((at AT TIME ZONE 'UTC' - interval '12 hours')::date,
                         (at AT TIME ZONE 'UTC' + interval '14 hours')::date, interval '1 day') AS number
    WHERE NOT EXISTS (
        SELECT FROM changed_days AS known WHERE known.day = number::date AND known.xmin = pg_current_xact_id()::xid
    )
    ORDER BY day
    ON CONFLICT (day) DO UPDATE SET changes = changed_days.changes + 1, changed_at = now();
END $$;
REVOKE ALL ON FUNCTION mark_days_of FROM PUBLIC;
"""

#: Of each table: the instants in whose days a row counts, and what of it is counted there. What is only ever read at
#: a day's end (a role, a title, how far a video is) is not among it. A subscription's state is read in one point.
_FACTS = {
    "users": [("created_at", "")],
    "teachers": [("created_at", "")],
    "chapters": [("created_at", "")],
    "courses": [("created_at", "")],
    "sessions": [("starts_at", "chapter_id, teacher_id")],
    "attendances": [("checked_in_at", "session_id, user_id")],
    "subscriptions": [
        ("created_at", "user_id"),
        (
            "activated_at, ends_at",
            "user_id, chapter_id, amount_minor, access_level, status = 'pending_payment' AS is_pending",
        ),
    ],
}

# Whose chapter a payment was for is looked up when it is counted, in whichever day it was booked.
_BOOKED = {
    "chapters": (
        "teacher_id",
        "JOIN subscriptions AS term ON term.chapter_id = after.id "
        "JOIN ledger_transactions AS booked ON booked.subscription_id = term.id",
    ),
    "subscriptions": ("chapter_id", "JOIN ledger_transactions AS booked ON booked.subscription_id = after.id"),
}


def _of(facet: tuple[str, str], rows: str) -> str:
    """What of `rows` is counted."""
    instants, counted = facet
    return f"SELECT id, {instants}{', ' if counted else ''}{counted} FROM {rows}"  # noqa: S608


def _instants(table: str, rows: str) -> str:
    """The instants of `rows`, which are new or gone."""
    values = ", ".join(f"({name.strip()})" for instants, _ in _FACTS[table] for name in instants.split(","))
    return f"SELECT at FROM {rows}, LATERAL (VALUES {values}) AS own (at)"  # noqa: S608


def _changed_instants(table: str) -> str:
    """The instants, old and new, of rows in which something that is counted is another."""
    found = []
    for facet in _FACTS[table]:
        before, after = _of(facet, "old_rows"), _of(facet, "new_rows")
        values = ", ".join(f"({name.strip()})" for name in facet[0].split(","))
        found.append(
            f"SELECT at FROM (({before} EXCEPT {after}) UNION ALL ({after} EXCEPT {before})) AS changed, "  # noqa: S608
            f"LATERAL (VALUES {values}) AS own (at)"
        )
    return " UNION ALL ".join(found)


def _mark(instants: str) -> str:
    return f"""
        late := ARRAY(SELECT DISTINCT date_trunc('hour', at, 'UTC') FROM ({instants}) AS moved (at)
                      WHERE isfinite(at) AND at < now() - {_LATE});
        IF late <> '{{}}' THEN PERFORM mark_days_of(late); END IF;"""  # noqa: S608


def _mark_booked(table: str) -> str:
    """Only where it is needed: it reads more than the rows that were changed."""
    if table not in _BOOKED:
        return ""
    column, booked = _BOOKED[table]
    changed = (
        f"old_rows AS before JOIN new_rows AS after ON after.id = before.id "
        f"AND after.{column} IS DISTINCT FROM before.{column}"
    )
    instants = f"SELECT booked.created_at FROM {changed} {booked}"  # noqa: S608
    return f"""
        IF EXISTS (SELECT FROM {changed}) THEN{_mark(instants)}
        END IF;"""


# With the rights of its owner: who writes facts needs no right to write what the statistics remember.
def _function(table: str) -> str:
    return f"""
CREATE FUNCTION mark_late_{table}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE late timestamptz[];
BEGIN
    IF TG_OP = 'INSERT' THEN{_mark(_instants(table, "new_rows"))}
    ELSIF TG_OP = 'DELETE' THEN{_mark(_instants(table, "old_rows"))}
    ELSE{_mark(_changed_instants(table))}{_mark_booked(table)}
    END IF;
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION mark_late_{table} FROM PUBLIC;
"""


_ROWS = {
    "INSERT": "NEW TABLE AS new_rows",
    "UPDATE": "OLD TABLE AS old_rows NEW TABLE AS new_rows",
    "DELETE": "OLD TABLE AS old_rows",
}


def _trigger(table: str, event: str) -> str:
    return (
        f"CREATE TRIGGER {table}_late_{event.lower()} AFTER {event} ON {table} REFERENCING {_ROWS[event]} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION mark_late_{table}()"
    )


# What ended and begins again, because an operator wants it, has not ended in its old day any more. A row at a time, and
# looked at where it is: a settlement changes a row that had no end, and calls nothing.
_BEGUN_AGAIN = f"""
CREATE FUNCTION mark_late_end() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF TG_TABLE_NAME = 'webhook_events' THEN PERFORM mark_days_of(ARRAY[OLD.processed_at]);
    ELSE PERFORM mark_days_of(ARRAY[OLD.finished_at]);
    END IF;
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION mark_late_end FROM PUBLIC;
CREATE TRIGGER webhook_events_late_end AFTER UPDATE OF processed_at ON webhook_events FOR EACH ROW
    WHEN (OLD.processed_at < now() - {_LATE} AND OLD.processed_at IS DISTINCT FROM NEW.processed_at)
    EXECUTE FUNCTION mark_late_end();
CREATE TRIGGER transcode_jobs_late_end AFTER UPDATE OF finished_at ON transcode_jobs FOR EACH ROW
    WHEN (OLD.finished_at < now() - {_LATE} AND OLD.finished_at IS DISTINCT FROM NEW.finished_at)
    EXECUTE FUNCTION mark_late_end();
"""

# the message of the function that guards against UPDATE and DELETE fits
_NOT_TRUNCATED = """
CREATE TRIGGER daily_stats_not_truncated BEFORE TRUNCATE ON daily_stats
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_statistics();
"""


def upgrade() -> None:
    op.execute(_MARK)
    for table in _FACTS:
        op.execute(_function(table))
        # every booking updates a user's balance, which no number of a past day is read from
        for event in ("INSERT", "DELETE") if table == "users" else ("INSERT", "UPDATE", "DELETE"):
            op.execute(_trigger(table, event))
    op.execute(_BEGUN_AGAIN)
    op.execute(_NOT_TRUNCATED)
    # a computation waits for its turn within its transaction, and is not kept before that
    op.alter_column("daily_stats", "computed_at", server_default=sa.text("clock_timestamp()"))
