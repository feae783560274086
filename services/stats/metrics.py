"""Metrics of the statistics."""

import time
from datetime import datetime

from prometheus_client import Counter, Gauge, Histogram

SWEEPS = Counter("nouba_stats_sweeps_total", "Searches for due days that succeeded.")
SWEEP_FAILURES = Counter("nouba_stats_sweep_failures_total", "Searches for due days that failed; the next one may not.")
_HEARTBEAT = Gauge(
    "nouba_stats_scheduler_heartbeat_timestamp_seconds", "When the scheduler last searched for due days with success."
)
_DUE = Gauge("nouba_stats_days_due", "Days that were due at the last scan.")
_TOO_OLD = Gauge(
    "nouba_stats_users_too_old", "Users whose created_at is before the school's first day; no day is computed for them."
)
COMPUTE_SECONDS = Histogram(
    "nouba_stats_compute_seconds",
    "Time that a computation of one or more days took.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300),
)
DAYS_COMPUTED = Counter("nouba_stats_days_computed_total", "Days that were computed.")
VERSIONS = Counter("nouba_stats_versions_total", "Versions that were kept, because a day was new or had changed.")
VERIFIED_DAYS = Counter("nouba_stats_verified_days_total", "Kept days that were compared with a rebuild.")
_DIFFERENCES = Gauge(
    "nouba_stats_verify_differences", "Numbers of kept days that were not what the facts say when they were compared."
)
_VERIFIED_AT = Gauge(
    "nouba_stats_verify_timestamp_seconds", "When kept days were last compared with a rebuild from the facts."
)
CLOSED_DAYS_CHANGED = Counter(
    "nouba_stats_closed_days_changed_total",
    "Closed days whose facts changed: they stay, and the open month is corrected.",
)
MAILS_SENT = Counter("nouba_stats_mails_sent_total", "Morning mails that the mail server has taken.")
SECTIONS_FAILED = Counter("nouba_stats_sections_failed_total", "Sections that could not be computed.", ["section"])


def heartbeat() -> None:
    """The scheduler is alive and reaches the database."""
    _HEARTBEAT.set(time.time())


def show_proof(differences: int, last_at: datetime | None) -> None:
    """So many differences stand, and a share of the days was last proved at `last_at`."""
    _DIFFERENCES.set(differences)
    if last_at is not None:
        _VERIFIED_AT.set(last_at.timestamp())


def users_too_old(number: int) -> None:
    """So many users are said to have registered before the school's first day."""
    _TOO_OLD.set(number)


def days_due(number: int) -> None:
    """So many days wait to be computed."""
    _DUE.set(number)
