"""Every table of the school, in one place to import from."""

from shared.schema.metadata import metadata
from shared.schema.money import (
    ledger_accounts,
    ledger_entries,
    ledger_transactions,
    payments,
    webhook_events,
)
from shared.schema.plumbing import outbox
from shared.schema.school import attendances, chapters, courses, sessions, subscriptions, teachers, users
from shared.schema.stats import changed_days, daily_stats, daily_stats_newest
from shared.schema.videos import transcode_chunks, transcode_jobs

__all__ = [
    "attendances",
    "changed_days",
    "chapters",
    "courses",
    "daily_stats",
    "daily_stats_newest",
    "ledger_accounts",
    "ledger_entries",
    "ledger_transactions",
    "metadata",
    "outbox",
    "payments",
    "sessions",
    "subscriptions",
    "teachers",
    "transcode_chunks",
    "transcode_jobs",
    "users",
    "webhook_events",
]
