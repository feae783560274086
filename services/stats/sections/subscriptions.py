"""Subscriptions: which run, begin and end, which chapters they are for, and what they bring a month."""

from collections.abc import Sequence
from typing import Any

from services.stats.days import ONE_DAY, Days
from services.stats.numbers import (
    FOREVER,
    NONE,
    Ask,
    Number,
    Section,
    Unit,
    Value,
    Values,
    breakdown,
    keyed,
    largest,
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

_CREATED = """
SELECT width_bucket(created_at, %(edges)s) AS bucket, count(*) AS subscriptions,
       count(*) FILTER (WHERE status = 'pending_payment') AS pending
FROM subscriptions GROUP BY bucket
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
    created = ask(_CREATED, edges=days.edges)
    ahead = Days(days.first, days.last + ONE_DAY * _AHEAD, days.zone)
    rows = ask(_RUNNING, edges=ahead.edges, never=len(ahead) + 1, begins_at=days.begins_at, ends_at=days.ends_at)
    terms = [row for row in rows if row.kind == _BY_LEVEL]
    chapters = _running_by_chapter(ahead, rows)
    months = mrr.compute(ask, days)
    values: Values = {}
    for bucket, day in enumerate(days, start=1):
        numbers: dict[str, Value] = {
            "total": sum(row.subscriptions for row in created if row.bucket <= bucket),
            "new": sum(row.subscriptions for row in created if row.bucket == bucket),
            "pending": sum(row.pending for row in created if row.bucket <= bucket),
            "popular_chapters": breakdown(chapters, bucket),
        }
        values[day] = {**numbers, **_terms(terms, bucket), **months[day]}
    return values


def _terms(terms: Sequence[Any], bucket: int) -> dict[str, Value]:
    """What the terms, given by the days in which they begin and end, make of one day."""
    run = [row for row in terms if row.begins <= bucket < row.ends]
    levels: dict[str, int] = {}
    for row in run:
        level = NONE if row.access_level is None else row.access_level
        levels[level] = levels.get(level, 0) + row.subscriptions
    return {
        "activated": sum(row.subscriptions for row in terms if row.begins == bucket),
        "active": sum(row.subscriptions for row in run),
        "expired": sum(row.subscriptions for row in terms if row.ends == bucket),
        "expiring_7": sum(row.subscriptions for row in run if row.ends <= bucket + 7),
        "expiring_30": sum(row.subscriptions for row in run if row.ends <= bucket + 30),
        "active_by_level": largest(levels),
    }


def _running_by_chapter(days: Days, rows: Sequence[Any]) -> dict[str, list[int]]:
    """How many run for each chapter at the end of every day."""
    steps = [(row.begins, row.chapter_id, row.subscriptions) for row in rows if row.kind == _BEGUN_BY_CHAPTER]
    steps += [(row.ends, row.chapter_id, -row.subscriptions) for row in rows if row.kind == _ENDED_BY_CHAPTER]
    return {key: running(counts) for key, counts in keyed(days, steps).items()}


SECTION = Section("subscriptions", NUMBERS, compute)
