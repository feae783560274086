"""Every table, in one place to import from."""

from shared.schema.api import api_idempotency_keys, api_tokens, checkouts
from shared.schema.events import events, webhook_deliveries, webhook_endpoints
from shared.schema.messaging import console_sessions, dead_letters, operator_acts, outbox, queue_pauses
from shared.schema.metadata import metadata
from shared.schema.payments import (
    kept_subscriptions,
    ledger_accounts,
    ledger_adjustments,
    ledger_entries,
    ledger_transactions,
    payment_links,
    payment_objects,
    payments,
    refund_requests,
    row_versions,
    seals,
    webhook_events,
)
from shared.schema.school import attendances, chapters, courses, sessions, subscriptions, teachers, users
from shared.schema.stats import (
    changed_days,
    chapter_teachers,
    daily_stats,
    daily_stats_newest,
    late_days,
    subscription_terms,
)
from shared.schema.videos import captions, course_keys, transcode_chunks, transcode_jobs

__all__ = [
    "api_idempotency_keys",
    "api_tokens",
    "attendances",
    "captions",
    "changed_days",
    "chapter_teachers",
    "chapters",
    "checkouts",
    "console_sessions",
    "course_keys",
    "courses",
    "daily_stats",
    "daily_stats_newest",
    "dead_letters",
    "events",
    "kept_subscriptions",
    "late_days",
    "ledger_accounts",
    "ledger_adjustments",
    "ledger_entries",
    "ledger_transactions",
    "metadata",
    "operator_acts",
    "outbox",
    "payment_links",
    "payment_objects",
    "payments",
    "queue_pauses",
    "refund_requests",
    "row_versions",
    "seals",
    "sessions",
    "subscription_terms",
    "subscriptions",
    "teachers",
    "transcode_chunks",
    "transcode_jobs",
    "users",
    "webhook_deliveries",
    "webhook_endpoints",
    "webhook_events",
]
