"""Every table of the school, in one place to import from."""

from shared.schema.metadata import metadata
from shared.schema.money import (
    ledger_accounts,
    ledger_entries,
    ledger_transactions,
    payments,
    webhook_events,
)
from shared.schema.plumbing import changed_days, outbox
from shared.schema.school import attendances, chapters, courses, sessions, subscriptions, teachers, users

__all__ = [
    "attendances",
    "changed_days",
    "chapters",
    "courses",
    "ledger_accounts",
    "ledger_entries",
    "ledger_transactions",
    "metadata",
    "outbox",
    "payments",
    "sessions",
    "subscriptions",
    "teachers",
    "users",
    "webhook_events",
]
