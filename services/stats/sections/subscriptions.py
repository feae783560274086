"""Subscriptions: which run, begin and end, which chapters they are for, and what they bring a month."""

from collections.abc import Mapping

import numpy as np

from services.stats.copy_binary import Integers
from services.stats.days import ONE_DAY, Days
from services.stats.sections import mrr
from services.stats.sections.activity import span
from services.stats.sections.base import (
    FOREVER,
    NONE,
    MetricDefinition,
    Query,
    Section,
    Unit,
    Values,
    breakdown,
    by_bucket,
    running,
)
from services.stats.sections.subscription_terms import NONE_GIVEN, SubscriptionTerms, buckets, level_names, read_terms

NUMBERS = (
    MetricDefinition("total", Unit.COUNT, "Subscriptions created before the day's end.", reach_days=FOREVER),
    MetricDefinition("new", Unit.COUNT, "Subscriptions created in the day.", reach_days=30),
    MetricDefinition("activated", Unit.COUNT, "Subscriptions activated (activated_at) in the day.", reach_days=FOREVER),
    MetricDefinition(
        "active",
        Unit.COUNT,
        "Subscriptions that run at the day's end: activated before it, not waiting for payment, and not ended "
        "(ends_at) before it. One that was cancelled runs until its end: when it was cancelled is not kept.",
        reach_days=FOREVER,
    ),
    MetricDefinition(
        "expired", Unit.COUNT, "Subscriptions that had run and ended (ends_at) in the day.", reach_days=FOREVER
    ),
    MetricDefinition("expiring_7", Unit.COUNT, "Subscriptions of `active` that end within the next 7 days."),
    MetricDefinition("expiring_30", Unit.COUNT, "Subscriptions of `active` that end within the next 30 days."),
    MetricDefinition(
        "active_by_level", Unit.COUNT, "Subscriptions of `active`.", by="access level", reach_days=FOREVER
    ),
    MetricDefinition(
        "popular_chapters", Unit.COUNT, "Subscriptions of `active`.", by="chapter's id", reach_days=FOREVER
    ),
    MetricDefinition(
        "pending", Unit.COUNT, "Subscriptions created before the day's end that wait for payment.", observed=True
    ),
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

#: For how many days ahead it is told what expires.
_AHEAD = (7, 30)


def compute(ask: Query, days: Days, currency: str) -> Values:
    created = ask(_CREATED, **span(days))
    new = by_bucket(days, ((row.bucket, row.subscriptions) for row in created))
    pending = running(by_bucket(days, ((row.bucket, row.pending) for row in created)))
    counted = mrr.days_to_count(ask, days)
    moves, stock = mrr.Moves(counted), _Stock(days)

    def take(terms: SubscriptionTerms) -> None:
        moves.add(terms)
        stock.add(terms)

    read_terms(ask, counted, take)
    moves.ask_who_had_paid(ask)
    months = mrr.numbers(ask, days, counted, moves)
    chapters = stock.by_chapter.running({NONE_GIVEN: NONE})
    levels = stock.by_level.running(level_names(ask, stock.by_level.keys))
    total = running(new)
    values: Values = {}
    for bucket, day in enumerate(days, start=1):
        values[day] = {
            "total": total[bucket],
            "new": new[bucket],
            "activated": int(stock.begun[bucket]),
            "active": sum(counts[bucket] for counts in levels.values()),
            "expired": int(stock.ended[bucket]),
            **{f"expiring_{within}": int(counts[bucket]) for within, counts in stock.expiring.items()},
            "active_by_level": breakdown(levels, bucket),
            "popular_chapters": breakdown(chapters, bucket),
            "pending": pending[bucket],
            **months[day],
        }
    return values


class _Stock:
    """How many subscriptions begin, end and run, by bucket."""

    def __init__(self, days: Days) -> None:
        self._days, self._number = days, len(days) + 2
        self.begun, self.ended = (np.zeros(self._number, np.int64) for _ in range(2))
        self.by_chapter, self.by_level = _Steps(self._number), _Steps(self._number)
        #: Those that end within so many days.
        self.expiring = {within: np.zeros(self._number, np.int64) for within in _AHEAD}

    def add(self, terms: SubscriptionTerms) -> None:
        """Count these."""
        begun, ended = buckets(terms.begins_at, self._days), buckets(terms.ends_at, self._days)
        self.begun += np.bincount(begun, minlength=self._number)
        self.ended += np.bincount(ended, minlength=self._number)
        self.by_chapter.add(terms.chapters, begun, ended)
        self.by_level.add(terms.levels, begun, ended)
        for within, counts in self.expiring.items():
            counts += self._expiring(terms, within)

    def _expiring(self, terms: SubscriptionTerms, within: int) -> Integers:
        ahead = Days(self._days.first, self._days.last + ONE_DAY * within, self._days.zone)
        ends, number = buckets(terms.ends_at, ahead), len(ahead) + 2
        # those that end later than that begin to expire after the days
        begins = np.maximum(buckets(terms.begins_at, ahead), ends - within)
        found = np.cumsum(np.bincount(begins, minlength=number) - np.bincount(ends, minlength=number))
        return found[: self._number]


class _Steps:
    """How many more begin than end, by a key and by bucket."""

    def __init__(self, number: int) -> None:
        self.keys: list[int] = []
        self._table = np.zeros((0, number), np.int64)

    def add(self, keys: Integers, begun: Integers, ended: Integers) -> None:
        """Count the subscriptions with these keys, and the buckets in which they begin and end."""
        known = np.union1d(np.array(self.keys, np.int64), keys)
        table = np.zeros((known.size, self._table.shape[1]), np.int64)
        table[np.searchsorted(known, self.keys)] = self._table
        rows = np.searchsorted(known, keys) * table.shape[1]
        for sign, at in ((1, begun), (-1, ended)):
            table += sign * np.bincount(rows + at, minlength=table.size).reshape(table.shape)
        self.keys, self._table = known.tolist(), table

    def running(self, names: Mapping[int, str]) -> dict[str, list[int]]:
        """How many run at the end of each bucket, by the key's name, or by the key where it has none."""
        rows = zip(self.keys, np.cumsum(self._table, axis=1).tolist(), strict=True)
        return {names.get(key, str(key)): counts for key, counts in rows}


SECTION = Section("subscriptions", NUMBERS, compute, weight=3)
