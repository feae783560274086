"""Subscriptions: which run, begin and end, which chapters they are for, and what they bring a month."""

from collections import defaultdict

import numpy as np

from services.stats.activity import span
from services.stats.columns import Integers
from services.stats.days import ONE_DAY, Days
from services.stats.numbers import (
    FOREVER,
    NONE,
    Ask,
    Number,
    Section,
    Unit,
    Values,
    breakdown,
    by_bucket,
    keyed,
    running,
)
from services.stats.sections import mrr
from services.stats.sections.terms import NO_CHAPTER, Terms, buckets, read_terms

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

_LEVELS = """
SELECT begins, ends, access_level, grouping(begins) = 0 AS begun, count(*) AS subscriptions
FROM (
    SELECT width_bucket(activated_at, %(edges)s) AS begins, width_bucket(ends_at, %(edges)s) AS ends, access_level
    FROM subscriptions
    WHERE status <> 'pending_payment' AND activated_at < %(ends_at)s
      AND (ends_at IS NULL OR (ends_at >= %(begins_at)s AND ends_at > activated_at))
) AS found
GROUP BY GROUPING SETS ((begins, access_level), (ends, access_level))
"""

#: For how many days ahead it is told what expires.
_AHEAD = (7, 30)


def compute(ask: Ask, days: Days, currency: str) -> Values:
    created = ask(_CREATED, **span(days))
    new = by_bucket(days, ((row.bucket, row.subscriptions) for row in created))
    pending = running(by_bucket(days, ((row.bucket, row.pending) for row in created)))
    rows = ask(_LEVELS, **span(days))
    begun = [(row.begins, row.access_level, row.subscriptions) for row in rows if row.begun]
    ended = [(row.ends, row.access_level, row.subscriptions) for row in rows if not row.begun and row.ends is not None]
    steps = [*begun, *((bucket, level, -number) for bucket, level, number in ended)]
    levels = {level: running(counts) for level, counts in keyed(days, steps).items()}
    activated = by_bucket(days, ((bucket, number) for bucket, _, number in begun))
    expired = by_bucket(days, ((bucket, number) for bucket, _, number in ended))

    counted = mrr.days_to_count(ask, days)
    moves, stock = mrr.Moves(counted), _Stock(days)

    def take(terms: Terms) -> None:
        moves.add(terms)
        stock.add(terms)

    read_terms(ask, counted, take)
    moves.ask_who_had_paid(ask)
    months = mrr.numbers(ask, days, counted, moves)
    chapters = {chapter: counts.tolist() for chapter, counts in stock.by_chapter.items()}
    total = running(new)
    values: Values = {}
    for bucket, day in enumerate(days, start=1):
        values[day] = {
            "total": total[bucket],
            "new": new[bucket],
            "activated": activated[bucket],
            "active": sum(counts[bucket] for counts in levels.values()),
            "expired": expired[bucket],
            **{f"expiring_{within}": int(counts[bucket]) for within, counts in stock.expiring.items()},
            "active_by_level": breakdown(levels, bucket),
            "popular_chapters": breakdown(chapters, bucket),
            "pending": pending[bucket],
            **months[day],
        }
    return values


class _Stock:
    """How many subscriptions run at the end of each day, by bucket."""

    def __init__(self, days: Days) -> None:
        self._days = days
        self.by_chapter = defaultdict[str, Integers](lambda: np.zeros(len(days) + 2, np.int64))
        #: Those that end within so many days.
        self.expiring = {within: np.zeros(len(days) + 2, np.int64) for within in _AHEAD}

    def add(self, terms: Terms) -> None:
        """Count these."""
        chapters = np.unique(terms.chapters)
        places, number = np.searchsorted(chapters, terms.chapters), len(self._days) + 2
        begun = np.bincount(places * number + buckets(terms.begins_at, self._days), minlength=chapters.size * number)
        ended = np.bincount(places * number + buckets(terms.ends_at, self._days), minlength=chapters.size * number)
        for chapter, steps in zip(chapters.tolist(), (begun - ended).reshape(-1, number), strict=True):
            self.by_chapter[NONE if chapter == NO_CHAPTER else str(chapter)] += np.cumsum(steps)
        for within, counts in self.expiring.items():
            counts += self._expiring(terms, within)

    def _expiring(self, terms: Terms, within: int) -> Integers:
        ahead = Days(self._days.first, self._days.last + ONE_DAY * within, self._days.zone)
        ends, number = buckets(terms.ends_at, ahead), len(ahead) + 2
        # those that end later than that begin to expire after the days
        begins = np.maximum(buckets(terms.begins_at, ahead), ends - within)
        found = np.cumsum(np.bincount(begins, minlength=number) - np.bincount(ends, minlength=number))
        return found[: len(self._days) + 2]


SECTION = Section("subscriptions", NUMBERS, compute, weight=3)
