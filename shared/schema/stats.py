"""Tables of the statistics: versions of days, and invalidated days."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
)
from sqlalchemy import text as sql
from sqlalchemy.dialects.postgresql import JSONB

from shared.schema.metadata import INSTANT, metadata
from shared.schema.payments import ledger_transactions, payments, webhook_events
from shared.schema.school import attendances, office_payments, sessions, subscriptions
from shared.schema.videos import lesson_views

# A version is never changed (the database refuses it); a day whose facts changed gets another one.
daily_stats = Table(
    "daily_stats",
    metadata,
    Column("day", Date, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("payload", JSONB, nullable=False),
    # SHA-256 of the canonical JSON, in hexadecimal
    Column("etag", Text, nullable=False),
    # the canonical JSON itself, as it is sent
    Column("body_gzip", LargeBinary, nullable=False),
    # false where a section failed: such a version is kept, but never shown instead of a whole one
    Column("complete", Boolean, nullable=False),
    # which transactions the computation saw (pg_current_snapshot)
    Column("watermark", Text, nullable=False),
    # of the clock, not of the transaction: a computation waits for its turn within one
    Column("computed_at", INSTANT, nullable=False, server_default=sql("clock_timestamp()")),
    Index("ix_daily_stats_computed_at", "computed_at"),
    info={"writer": "stats"},
)

# One row a day: its newest complete version, and when it was last compared with the facts.
daily_stats_newest = Table(
    "daily_stats_newest",
    metadata,
    Column("day", Date, primary_key=True),
    Column("version", Integer),
    # whether a section failed at the last attempt, which makes the day due again
    Column("failed", Boolean, nullable=False),
    Column("checked_at", INSTANT, nullable=False),
    # when this version was last compared with a rebuild from the facts alone, and how many numbers differed
    Column("verified_at", INSTANT),
    Column("differences", Integer),
    # when a proof of this day was last begun, whatever came of it
    Column("tried_at", INSTANT),
    # of a day in a closed month: the newest complete version, while `version` stays as it was closed
    Column("facts_version", Integer),
    ForeignKeyConstraint(["day", "version"], ["daily_stats.day", "daily_stats.version"]),
    info={"writer": "stats"},
)

# What a day leaves to those after it, of the last month alone: they count on from it and read none of its facts again.
# What it says is in the facts too; where it is missing they are read.
daily_states = Table(
    "daily_states",
    metadata,
    Column("day", Date, primary_key=True),
    # who left a trace: a bit for each user's id, from 0 on
    Column("active_users", LargeBinary),
    # who brought MRR at its end, and how much
    Column("subscribers", LargeBinary),
    # the setting that they were counted with
    Column("grace_days", Integer, nullable=False),
    info={"writer": "stats"},
)

# A month that is closed, by its first day. Its days stay as they are (the database refuses a change).
closed_months = Table(
    "closed_months",
    metadata,
    Column("month", Date, primary_key=True),
    Column("closed_at", INSTANT, nullable=False, server_default=sql("now()")),
    Column("closed_by", Text, nullable=False),
    CheckConstraint("extract(day FROM month) = 1", name="is_first_day"),
    info={"writer": "stats"},
)

# How much a number of a closed day would be another, since a fact came late; booked on the first day of the open month.
closed_day_corrections = Table(
    "closed_day_corrections",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("booked_on", Date, nullable=False),
    # the version of the closed day that found it
    Column("day", Date, nullable=False),
    Column("version", Integer, nullable=False),
    Column("number", Text, nullable=False),
    Column("key", Text),
    Column("amount", BigInteger, nullable=False),
    # whether it adds to the number of the open month; a stock or a ratio does not
    Column("adds_up", Boolean, nullable=False),
    Column("found_at", INSTANT, nullable=False, server_default=sql("clock_timestamp()")),
    ForeignKeyConstraint(["day", "version"], ["daily_stats.day", "daily_stats.version"]),
    Index("ix_closed_day_corrections_booked_on", "booked_on", "number"),
    Index("ix_closed_day_corrections_day", "day", "number"),
    info={"writer": "stats"},
)

# A day whose facts changed since its statistics were computed. `changes` counts, so that a change which comes while
# the day is being computed is not taken for one that was seen.
changed_days = Table(
    "changed_days",
    metadata,
    Column("day", Date, primary_key=True),
    Column("changes", BigInteger, nullable=False, server_default=sql("1")),
    Column("changed_at", INSTANT, nullable=False, server_default=sql("now()")),
    info={"writer": "stats"},
)

# What the school's application writes late: the days in which it may count. Triggers of the database put a row in
# (migration 0012), and the statistics gather them into `changed_days`, whose rows would make others wait for a long
# transaction of the school, and two of these for each other.
late_days = Table(
    "late_days",
    metadata,
    Column("first_day", Date, nullable=False),
    Column("last_day", Date, nullable=False),
    Column("noted_at", INSTANT, nullable=False, server_default=sql("now()")),
    info={"writer": "stats"},
)

# A term that has begun, as it was before somebody changed it: its price, its end, and when it was stopped or returned.
# A trigger of the database keeps it (migration 0034); a term that nobody changes has no row.
subscription_terms = Table(
    "subscription_terms",
    metadata,
    Column("subscription_id", BigInteger, primary_key=True, autoincrement=False),
    Column("activated_at", INSTANT, primary_key=True),
    Column("user_id", BigInteger, nullable=False),
    Column("chapter_id", BigInteger),
    Column("access_level", Text),
    Column("amount_minor", BigInteger, nullable=False),
    Column("ends_at", INSTANT),
    # cancelled without an end, expired before its end, or returned because the wallet could not pay any more
    Column("stopped_at", INSTANT),
    Column("is_returned", Boolean, nullable=False, server_default=sql("false")),
    Index("ix_subscription_terms_returned", "user_id", postgresql_where=sql("is_returned")),
    info={"writer": "stats"},
)

# Who has taught a chapter since when (migration 0034): a sale belongs to the teacher of its time.
chapter_teachers = Table(
    "chapter_teachers",
    metadata,
    Column("chapter_id", BigInteger, primary_key=True, autoincrement=False),
    Column("since", INSTANT, primary_key=True),
    Column("teacher_id", BigInteger),
    info={"writer": "stats"},
)

# Of which day a mail was enqueued, and when the mail server took it; to whom is a setting and is not kept.
mailed_days = Table(
    "mailed_days",
    metadata,
    Column("day", Date, primary_key=True),
    Column("enqueued_at", INSTANT, nullable=False, server_default=sql("now()")),
    Column("sent_at", INSTANT),
    info={"writer": "stats"},
)

# Facts are written in the order of time, so a few kilobytes a table say where a day's rows are.
for _column in (
    attendances.c.checked_in_at,
    office_payments.c.received_at,
    ledger_transactions.c.created_at,
    lesson_views.c.day,
    payments.c.completed_at,
    payments.c.created_at,
    sessions.c.starts_at,
    subscriptions.c.created_at,
    webhook_events.c.processed_at,
    webhook_events.c.received_at,
):
    Index(
        f"brin_{_column.table.name}_{_column.name}",
        _column,
        postgresql_using="brin",
        postgresql_with={"pages_per_range": 32, "autosummarize": "on"},
    )

# The same beside ids: whatever lies after a day is skipped.
for _column in (ledger_transactions.c.created_at, payments.c.completed_at, subscriptions.c.created_at):
    Index(
        f"brin_{_column.table.name}_id_{_column.name}",
        _column.table.c.id,
        _column,
        postgresql_using="brin",
        postgresql_with={"pages_per_range": 32, "autosummarize": "on"},
    )
