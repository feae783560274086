"""Every table of the school, in one place to import from."""

from shared.schema.messaging import dead_letters, operator_acts, outbox, queue_pauses
from shared.schema.metadata import metadata
from shared.schema.payments import (
    ledger_accounts,
    ledger_adjustments,
    ledger_entries,
    ledger_transactions,
    payments,
    seals,
    webhook_events,
)
from shared.schema.school import attendances, chapters, courses, sessions, subscriptions, teachers, users
from shared.schema.stats import changed_days, daily_stats, daily_stats_newest, late_days
from shared.schema.videos import captions, course_keys, transcode_chunks, transcode_jobs

__all__ = [
    "attendances",
    "captions",
    "changed_days",
    "chapters",
    "course_keys",
    "courses",
    "daily_stats",
    "daily_stats_newest",
    "dead_letters",
    "late_days",
    "ledger_accounts",
    "ledger_adjustments",
    "ledger_entries",
    "ledger_transactions",
    "metadata",
    "operator_acts",
    "outbox",
    "payments",
    "queue_pauses",
    "seals",
    "sessions",
    "subscriptions",
    "teachers",
    "transcode_chunks",
    "transcode_jobs",
    "users",
    "webhook_events",
]
