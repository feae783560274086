"""Queries of stored days of statistics for the console."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Engine, text

_DAYS = text("""
SELECT newest.day, newest.version, newest.failed, newest.checked_at, newest.verified_at,
    newest.differences, kept.computed_at,
    octet_length(kept.body_gzip) AS bytes, changed.changes, changed.changed_at,
    (SELECT jsonb_object_agg(key, value -> 'failed') FROM jsonb_each(last.payload -> 'sections') WHERE value ? 'failed')
        AS faults
FROM daily_stats_newest AS newest
LEFT JOIN daily_stats AS kept ON kept.day = newest.day AND kept.version = newest.version
LEFT JOIN LATERAL (SELECT payload FROM daily_stats WHERE day = newest.day AND newest.failed
    ORDER BY version DESC LIMIT 1) AS last ON true
LEFT JOIN changed_days AS changed ON changed.day = newest.day
ORDER BY newest.day DESC LIMIT :limit
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptDay:
    """A day, its newest whole version, and what is to be done about it."""

    day: date
    version: int | None
    failed: bool
    #: When it was last computed, also where the numbers stayed as they were or a section failed.
    checked_at: datetime
    #: When its version was last compared with a rebuild from the facts, and how many numbers differed.
    verified_at: datetime | None
    differences: int | None
    computed_at: datetime | None
    bytes: int | None
    #: Facts that changed since it was computed; it will be computed again.
    changes: int | None
    changed_at: datetime | None
    #: Sections that failed at the last attempt, with their reasons.
    faults: dict[str, str] | None


def read_days(engine: Engine, *, limit: int = 60) -> Sequence[KeptDay]:
    """The newest first."""
    with engine.connect() as connection:
        return [KeptDay(**row) for row in connection.execute(_DAYS, {"limit": limit}).mappings()]
