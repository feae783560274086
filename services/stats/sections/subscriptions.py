"""Subscriptions: which run, begin and end, which chapters they are for, and what they bring a month."""

from collections.abc import Sequence
from typing import Any

from services.stats.activity import span
from services.stats.days import ONE_DAY, Days
from services.stats.numbers import (
    FOREVER,
    Ask,
    Number,
    Section,
    Unit,
    Value,
    Values,
    breakdown,
    by_bucket,
    keyed,
    running,
)
from services.stats.sections import mrr

NUMBERS = (
    Number("total", Unit.COUNT, "Subscriptions created before the day's end.", reach_days=FOREVER),
    Number("new", Unit.COUNT, "Subscriptions created in the day.", reach_days=30),
    Number("activated", Unit.COUNT, "Subscriptions activated (activated_at) in the day.", reach_days=FOREVER),
    Number(
        "active",
        Unit.COUNT,
        "Subscriptions that run at the day's end: activated before it, not waiting for payment, and not ended "
        "(ends_at) before it. One that was cancelled runs until its end: when it was cancelled is not kept.",
        reach_days=FOREVER,
    ),
    Number("expired", Unit.COUNT, "Subscriptions that had run and ended (ends_at) in the day.", reach_days=FOREVER),
    Number("expiring_7", Unit.COUNT, "Subscriptions of `active` that end within the next 7 days."),
    Number("expiring_30", Unit.COUNT, "Subscriptions of `active` that end within the next 30 days."),
    Number("active_by_level", Unit.COUNT, "Subscriptions of `active`.", by="access level", reach_days=FOREVER),
    Number("popular_chapters", Unit.COUNT, "Subscriptions of `active`.", by="chapter's id", reach_days=FOREVER),
    Number("pending", Unit.COUNT, "Subscriptions created before the day's end that wait for payment.", observed=True),
    *mrr.NUMBERS,
)

# What lies before the days is one group: PostgreSQL then counts in parallel, and has no day to look up for each row.
_CREATED = """
SELECT 0 AS bucket, count(*) AS subscriptions, count(*) FILTER (WHERE status = 'pending_payment') AS pending
FROM subscriptions WHERE created_at < %(begins_at)s
UNION ALL
SELECT width_bucket(created_at, %(edges)s) AS bucket, count(*), count(*) FILTER (WHERE status = 'pending_payment')
FROM subscriptions WHERE created_at >= %(begins_at)s AND created_at < %(ends_at)s GROUP BY bucket
"""

_RUNNING = """
SELECT begins, ends, access_level, chapter_id, grouping(begins, ends, access_level, chapter_id) AS kind,
       count(*) AS subscriptions
FROM (
    SELECT width_bucket(activated_at, %(edges)s) AS begins,
           coalesce(width_bucket(ends_at, %(edges)s), %(never)s) AS ends, access_level, chapter_id
    FROM subscriptions
    WHERE status <> 'pending_payment' AND activated_at < %(ends_at)s
      AND (ends_at IS NULL OR (ends_at >= %(begins_at)s AND ends_at > activated_at))
) AS found
GROUP BY GROUPING SETS ((begins, ends, access_level), (begins, chapter_id), (ends, chapter_id))
"""
_BY_LEVEL, _BEGUN_BY_CHAPTER, _ENDED_BY_CHAPTER = 0b0001, 0b0110, 0b1010

_AHEAD = 30


def compute(ask: Ask, days: Days, currency: str) -> Values:
    created = ask(_CREATED, **span(days))
    new = by_bucket(days, ((row.bucket, row.subscriptions) for row in created))
    pending = running(by_bucket(days, ((row.bucket, row.pending) for row in created)))
    ahead = Days(days.first, days.last + ONE_DAY * _AHEAD, days.zone)
    rows = ask(_RUNNING, edges=ahead.edges, never=len(ahead) + 1, begins_at=days.begins_at, ends_at=days.ends_at)
    chapters = _running_by_chapter(ahead, rows)
    terms = _terms(ahead, [row for row in rows if row.kind == _BY_LEVEL])
    months = mrr.compute(ask, days)
    total = running(new)
    values: Values = {}
    for bucket, day in enumerate(days, start=1):
        numbers: dict[str, Value] = {
            "total": total[bucket],
            "new": new[bucket],
            "pending": pending[bucket],
            "popular_chapters": breakdown(chapters, bucket),
        }
        values[day] = {**numbers, **terms[bucket], **months[day]}
    return values


def _terms(days: Days, terms: Sequence[Any]) -> list[dict[str, Value]]:
    """What the terms, given by the days in which they begin and end, make of each day, by bucket."""
    begun = by_bucket(days, ((row.begins, row.subscriptions) for row in terms))
    ended = by_bucket(days, ((row.ends, row.subscriptions) for row in terms))
    steps = [(row.begins, row.access_level, row.subscriptions) for row in terms]
    steps += [(row.ends, row.access_level, -row.subscriptions) for row in terms]
    levels = {key: running(counts) for key, counts in keyed(days, steps).items()}
    expiring = {within: _expiring(days, terms, within) for within in (7, 30)}
    return [
        {
            "activated": begun[bucket],
            "active": sum(counts[bucket] for counts in levels.values()),
            "expired": ended[bucket],
            "expiring_7": expiring[7][bucket],
            "expiring_30": expiring[30][bucket],
            "active_by_level": breakdown(levels, bucket),
        }
        for bucket in range(len(days) + 1)
    ]


def _expiring(days: Days, terms: Sequence[Any], within: int) -> list[int]:
    """How many run at the end of each day and end in the next `within`."""
    ending = [row for row in terms if row.ends <= len(days)]
    steps = [(max(row.begins, row.ends - within), row.subscriptions) for row in ending]
    steps += [(row.ends, -row.subscriptions) for row in ending]
    return running(by_bucket(days, steps))


def _running_by_chapter(days: Days, rows: Sequence[Any]) -> dict[str, list[int]]:
    """How many run for each chapter at the end of every day."""
    steps = [(row.begins, row.chapter_id, row.subscriptions) for row in rows if row.kind == _BEGUN_BY_CHAPTER]
    steps += [(row.ends, row.chapter_id, -row.subscriptions) for row in rows if row.kind == _ENDED_BY_CHAPTER]
    return {key: running(counts) for key, counts in keyed(days, steps).items()}


SECTION = Section("subscriptions", NUMBERS, compute, weight=4)
