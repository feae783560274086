"""The database itself notes which old days the school's application changes; kept days are not emptied either."""

from typing import NamedTuple

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"

# Younger facts are found by the statistics' own looks at the last days, so what is written as it happens notes nothing.
_LATE = "interval '2 days'"

_ITS_DAY = "interval '0 days'"
# who came is counted in windows of 30 days, and looked for again 30 days after they registered
_A_MONTH = "interval '30 days'"
_UNTIL_NOW = "interval '1000 years'"


class _Facet(NamedTuple):
    """What of a row is counted from one of its instants on."""

    at: str
    #: What else is counted of it. What is only ever read at a day's end (a role, a title, how far a video is) is not.
    counted: str = ""
    #: In how many later days. The numbers of the first may be the same while those of a later one are not: the day
    #: before a term's end if it is put off, or a month of somebody who came on the same day as somebody else.
    lasts: str = _ITS_DAY


_FACTS = {
    "users": [_Facet("created_at", lasts=_A_MONTH)],
    "teachers": [_Facet("created_at")],
    "chapters": [_Facet("created_at")],
    "courses": [_Facet("created_at")],
    "sessions": [_Facet("starts_at", "chapter_id, teacher_id")],
    "attendances": [_Facet("checked_in_at", "session_id, user_id", _A_MONTH)],
    "subscriptions": [
        _Facet("created_at", "user_id", _A_MONTH),
        # whose first term one is depends on every earlier one, also after that one's end
        _Facet(
            "activated_at",
            "ends_at, user_id, chapter_id, amount_minor, access_level, status = 'pending_payment' AS is_pending",
            _UNTIL_NOW,
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


def _of(facet: _Facet, rows: str) -> str:
    """What of `rows` is counted."""
    return f"SELECT id, {facet.at} AS at{facet.counted and ', '}{facet.counted} FROM {rows}"  # noqa: S608


def _instants(table: str, rows: str) -> str:
    """The instants of `rows`, which are new or gone."""
    return " UNION ALL ".join(f"SELECT {facet.at}, {facet.lasts} FROM {rows}" for facet in _FACTS[table])  # noqa: S608


def _changed_instants(table: str) -> str:
    """The instants, old and new, of rows in which something that is counted is another."""
    found = []
    for facet in _FACTS[table]:
        before, after = _of(facet, "old_rows"), _of(facet, "new_rows")
        found.append(
            f"SELECT at, {facet.lasts} "  # noqa: S608
            f"FROM (({before} EXCEPT {after}) UNION ALL ({after} EXCEPT {before})) AS changed"
        )
    return " UNION ALL ".join(found)


# Rows are only put in: where two transactions of the school name the same day, neither waits for the other, and nobody
# for an import. The database does not know the school's zone: it notes each day that has the instant in any zone, from
# twelve hours behind UTC to fourteen before it. A day in which nothing is new gets no new version.
def _note(instants: str) -> str:
    return f"""
        INSERT INTO late_days (first_day, last_day)
        SELECT DISTINCT (at AT TIME ZONE 'UTC' - interval '12 hours')::date,
               (least(at + lasts, now() - {_LATE}) AT TIME ZONE 'UTC' + interval '14 hours')::date
        FROM ({instants}) AS moved (at, lasts)
        WHERE isfinite(at) AND at < now() - {_LATE};"""  # noqa: S608


def _note_booked(table: str) -> str:
    """Only where it is needed: it reads more than the rows that were changed."""
    if table not in _BOOKED:
        return ""
    column, booked = _BOOKED[table]
    changed = (
        f"old_rows AS before JOIN new_rows AS after ON after.id = before.id "
        f"AND after.{column} IS DISTINCT FROM before.{column}"
    )
    instants = f"SELECT booked.created_at, {_ITS_DAY} FROM {changed} {booked}"  # noqa: S608
    return f"""
        IF EXISTS (SELECT FROM {changed}) THEN{_note(instants)}
        END IF;"""


# With the rights of its owner: who writes facts needs no right to write what the statistics remember.
def _function(name: str, body: str) -> str:
    return f"""
CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN{body}
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION {name} FROM PUBLIC;
"""


def _of_statement(table: str) -> str:
    return f"""
    IF TG_OP = 'INSERT' THEN{_note(_instants(table, "new_rows"))}
    ELSIF TG_OP = 'DELETE' THEN{_note(_instants(table, "old_rows"))}
    ELSE{_note(_changed_instants(table))}{_note_booked(table)}
    END IF;"""


_ROWS = {
    "INSERT": "NEW TABLE AS new_rows",
    "UPDATE": "OLD TABLE AS old_rows NEW TABLE AS new_rows",
    "DELETE": "OLD TABLE AS old_rows",
}


def _trigger(table: str, event: str) -> str:
    return (
        f"CREATE TRIGGER {table}_late_{event.lower()} AFTER {event} ON {table} REFERENCING {_ROWS[event]} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION note_late_{table}()"
    )


#: Looked at a row at a time, and where it is: a booking updates a user's balance, a settlement an event that had no
#: end, and neither calls anything. What ended and begins again, because an operator wants it, has not ended in its old
#: day any more.
_MOVED = {
    "users": ("created_at", _A_MONTH),
    "webhook_events": ("processed_at", _ITS_DAY),
    "transcode_jobs": ("finished_at", _ITS_DAY),
}


def _note_moved(table: str) -> str:
    column, lasts = _MOVED[table]
    name = f"note_late_{table}_{column}"
    body = _note(f"VALUES (OLD.{column}, {lasts}), (NEW.{column}, {lasts})")
    return f"""{_function(name, body)}
CREATE TRIGGER {table}_late_{column} AFTER UPDATE OF {column} ON {table} FOR EACH ROW
    WHEN (least(OLD.{column}, NEW.{column}) < now() - {_LATE} AND OLD.{column} IS DISTINCT FROM NEW.{column})
    EXECUTE FUNCTION {name}();
"""


# the message of the function that guards against UPDATE and DELETE fits
_NOT_TRUNCATED = """
CREATE TRIGGER daily_stats_not_truncated BEFORE TRUNCATE ON daily_stats
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_statistics();
"""


def upgrade() -> None:
    op.create_table(
        "late_days",
        sa.Column("first_day", sa.Date(), nullable=False),
        sa.Column("last_day", sa.Date(), nullable=False),
        sa.Column("noted_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
    )
    for table in _FACTS:
        op.execute(_function(f"note_late_{table}", _of_statement(table)))
        for event in ("INSERT", "DELETE") if table in _MOVED else ("INSERT", "UPDATE", "DELETE"):
            op.execute(_trigger(table, event))
    for table in _MOVED:
        op.execute(_note_moved(table))
    op.execute(_NOT_TRUNCATED)
    # a computation waits for its turn within its transaction, and is not kept before that
    op.alter_column("daily_stats", "computed_at", server_default=sa.text("clock_timestamp()"))
    op.add_column("daily_stats_newest", sa.Column("tried_at", sa.TIMESTAMP(timezone=True), nullable=True))
