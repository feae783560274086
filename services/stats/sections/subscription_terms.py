"""Reads the subscription terms that overlap a range of days, in columns, one batch at a time.

A term is as it was sold: `subscription_terms` (the table) has the price and the end of those that were changed later,
and those that were returned.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import timedelta
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from services.stats.binary_column_reader import EPOCH, Integers
from services.stats.days import Days
from services.stats.sections.base import NONE, Query, distinct, order_by

#: The end of a term that has none.
NEVER = 2**63 - 1
#: The chapter and the access level of a subscription that has none; nobody's id is so far down.
NONE_GIVEN = -(2**62)


@dataclass(frozen=True, slots=True)
class SubscriptionTerms:
    """Some terms, all of them or none of each user; instants are in microseconds since EPOCH."""

    users: Integers
    chapters: Integers
    #: What stands for the access level; `level_names` knows its name.
    levels: Integers
    ids: Integers
    #: What was paid.
    amounts: Integers
    begins_at: Integers
    #: When access ended, or will end.
    ends_at: Integers
    #: When it was to end, before it was stopped.
    due_at: Integers
    #: When it was to end as it was sold: what was paid is for the time until then.
    sold_until: Integers
    #: When it was cancelled, expired early or returned; NEVER where it was not.
    stopped_at: Integers
    #: 1 where what was paid went back to the wallet at `stopped_at`.
    returned: Integers

    @classmethod
    def as_sold(cls, columns: list[Integers]) -> "SubscriptionTerms":
        """Terms that nobody changed, from the columns down to `ends_at`."""
        ends_at = columns[-1]
        return cls(*[*columns, ends_at, ends_at, np.full_like(ends_at, NEVER), np.zeros_like(ends_at)])

    def beside(self, others: "SubscriptionTerms") -> "SubscriptionTerms":
        """These, and then others."""
        names = [field.name for field in fields(self)]
        return SubscriptionTerms(*(np.concatenate((getattr(self, name), getattr(others, name))) for name in names))

    def where(self, which: NDArray[np.bool_]) -> "SubscriptionTerms":
        """Some of these."""
        return self.take(np.flatnonzero(which))

    def take(self, places: Integers) -> "SubscriptionTerms":
        """These, in this order."""
        return SubscriptionTerms(*(getattr(self, field.name)[places] for field in fields(self)))

    def reaches_until(self) -> Integers:
        """Until when each has a say: it runs, is still to be earned, or is returned."""
        returned_at = np.where(self.returned == 1, self.stopped_at, self.ends_at)
        return np.maximum(np.maximum(self.ends_at, self.sold_until), returned_at)

    def in_order(self) -> "SubscriptionTerms":
        """By user, chapter, and when they begin."""
        number, chapters = self.ids.size, distinct(self.chapters)
        # they come nearly in this order; one number of both columns is put in order several times as fast as the two
        by_begin = np.empty(number, np.int64)
        by_begin[np.lexsort((self.ids, self.begins_at))] = np.arange(number)
        by_chapter = np.searchsorted(chapters, self.chapters) * number + by_begin
        return self.take(order_by(self.users, by_chapter, chapters.size * number))

    def pairs(self) -> Integers:
        """The number of each term's user and chapter, where they are in order."""
        is_first = (np.diff(self.users, prepend=-1) != 0) | (np.diff(self.chapters, prepend=NONE_GIVEN - 1) != 0)
        return np.cumsum(is_first)


# Nearly all are as they were sold: fewer columns say what they are. A row that was cancelled without an end, or expired
# without one, and of which nobody knows when, counts nowhere.
_AS_SOLD = """
SELECT user_id, coalesce(chapter_id, %(none)s) AS chapter, coalesce(hashtextextended(access_level, 0), %(none)s)
           AS level, id, amount_minor, greatest(activated_at, '0001-01-01Z') AS begins_at,
       coalesce(ends_at, 'infinity') AS ends_at
FROM subscriptions AS one
WHERE status <> 'pending_payment' AND activated_at < %(ends_at)s {whose}
  AND (ends_at > activated_at AND ends_at >= %(begins_at)s OR ends_at IS NULL AND status = 'active')
  AND NOT EXISTS (
      SELECT FROM subscription_terms AS kept
      WHERE kept.subscription_id = one.id AND kept.activated_at = one.activated_at)
"""
_NAMES_AS_SOLD = ("user_id", "chapter", "level", "id", "amount_minor", "begins_at", "ends_at")

_CHANGED = """
SELECT user_id, coalesce(chapter_id, %(none)s) AS chapter, coalesce(hashtextextended(access_level, 0), %(none)s)
           AS level, id, amount_minor, greatest(activated_at, '0001-01-01Z') AS begins_at,
       coalesce(least(due_at, stopped_at), 'infinity') AS ends_at, coalesce(due_at, 'infinity') AS due_at,
       coalesce(sold_at, 'infinity') AS sold_at, coalesce(stopped_at, 'infinity') AS stopped_at, returned
FROM (
    SELECT one.id, one.user_id, one.chapter_id, one.access_level, one.activated_at,
           coalesce(kept.amount_minor, one.amount_minor) AS amount_minor, one.ends_at AS due_at,
           CASE WHEN kept.subscription_id IS NULL THEN one.ends_at ELSE kept.ends_at END AS sold_at, kept.stopped_at,
           0::bigint AS returned
    FROM subscriptions AS one
    {join} JOIN subscription_terms AS kept
        ON kept.subscription_id = one.id AND kept.activated_at = one.activated_at
    WHERE one.status <> 'pending_payment' AND one.activated_at < %(ends_at)s {whose}
      -- most were stopped long ago, which is known without their subscriptions
      AND (kept.stopped_at < %(begins_at)s AND kept.ends_at < %(begins_at)s) IS NOT TRUE
      AND (one.ends_at IS NOT NULL OR kept.stopped_at IS NOT NULL OR one.status = 'active')
    UNION ALL
    SELECT subscription_id, user_id, chapter_id, access_level, activated_at, amount_minor, ends_at, ends_at, stopped_at,
           is_returned::integer
    FROM subscription_terms AS kept
    WHERE is_returned AND activated_at < %(ends_at)s {kept_whose}
      AND (stopped_at < %(begins_at)s AND ends_at < %(begins_at)s) IS NOT TRUE
      AND NOT EXISTS (
        SELECT FROM subscriptions AS one
        WHERE one.id = kept.subscription_id AND one.activated_at = kept.activated_at
          AND one.status <> 'pending_payment')
) AS term
WHERE coalesce(least(due_at, stopped_at) > activated_at, true)
  AND (greatest(least(due_at, stopped_at), sold_at, CASE WHEN returned = 1 THEN stopped_at END) >= %(begins_at)s
       OR least(due_at, stopped_at) IS NULL OR sold_at IS NULL)
"""
_NAMES = (*_NAMES_AS_SOLD, "due_at", "sold_at", "stopped_at", "returned")
_FEW_EDGES = 8
# what is made of a term takes ten times its own space, so users are dealt out
_PARTS = 16


def read_terms(ask: Query, days: Days, take: Callable[[SubscriptionTerms], None]) -> None:
    """Give `take`, part by part and in order, the terms that run in some moment of `days`, or end in their first."""
    limits: dict[str, object] = {"begins_at": days.begins_at, "ends_at": days.ends_at, "none": NONE_GIVEN}
    if ask.users is not None:
        limits["users"] = list(ask.users)
        # few users have few terms: all of them at once, so that their subscriptions are read once
        every = _changed("user_id = ANY (%(users)s::bigint[])", join="LEFT")
        take(SubscriptionTerms(*ask.columns(every, _NAMES, **limits)).in_order())
        return
    as_sold, changed = _texts()
    # few, so all at once
    others = SubscriptionTerms(*ask.columns(changed, _NAMES, **limits))
    # the remainder as PostgreSQL has it
    parts = np.fmod(others.users, _PARTS)
    left = set(distinct(parts).tolist())

    def take_part(columns: list[Integers]) -> None:
        part = int(np.fmod(columns[0][0], _PARTS))
        left.discard(part)
        take(SubscriptionTerms.as_sold(columns).beside(others.where(parts == part)).in_order())

    ask.parts(as_sold, _NAMES_AS_SOLD, f"user_id %% {_PARTS}", take_part, **limits)
    for part in left:
        take(others.where(parts == part).in_order())


def running_columns(ask: Query, days: Days, chapters: Sequence[int]) -> list[Integers]:
    """Chapter and user of each term of these chapters that runs at the end of `days`."""
    limits = {"begins_at": days.begins_at, "ends_at": days.ends_at, "none": NONE_GIVEN}
    running = " UNION ALL ".join(
        f"SELECT chapter, user_id FROM ({text}) AS one WHERE ends_at >= %(ends_at)s"  # noqa: S608
        for text in _texts("chapter_id = ANY (%(chapters)s::bigint[])")
    )
    return ask.columns(running, ("chapter", "user_id"), **limits, chapters=list(chapters))


def _texts(whose: str = "") -> tuple[str, str]:
    """The queries for the terms as they were sold, and for those that were changed, of these subscriptions."""
    return _AS_SOLD.format(whose=f"AND one.{whose}" if whose else ""), _changed(whose)


def _changed(whose: str, join: str = "INNER") -> str:
    """The query for the terms that were changed; with a LEFT join, for all terms."""
    one, kept = (f"AND {table}.{whose}" if whose else "" for table in ("one", "kept"))
    return _CHANGED.format(join=join, whose=one, kept_whose=kept)


# those that ANALYZE saw, and then all: a scan for a handful of words costs as much as one for the terms
_LEVELS = (
    """
    SELECT level, hashtextextended(level, 0) AS key FROM (
        SELECT unnest(most_common_vals::text::text[]) AS level FROM pg_stats
        WHERE schemaname = current_schema() AND tablename = 'subscriptions' AND attname = 'access_level'
    ) AS seen
    """,
    """
    SELECT DISTINCT access_level AS level, hashtextextended(access_level, 0) AS key FROM (
        SELECT access_level FROM subscriptions UNION ALL SELECT access_level FROM subscription_terms
    ) AS seen WHERE access_level IS NOT NULL
    """,
)


def level_names(ask: Query, keys: Iterable[int]) -> dict[int, str]:
    """The access levels that these of `SubscriptionTerms.levels` stand for."""
    names = {NONE_GIVEN: NONE}
    for query in _LEVELS:
        if names.keys() >= set(keys):
            break
        names |= {row.key: row.level for row in ask(query)}
    return names


def buckets(instants: Integers, days: Days) -> Integers:
    """The number of each instant's day, as PostgreSQL's width_bucket has it: 0 is before `days`, len + 1 after them."""
    edges = _edges(days)
    if edges.size > _FEW_EDGES:
        return np.searchsorted(edges, instants, side="right")
    # for a few days it takes a third of the time to compare with each edge
    found = np.zeros(instants.shape, np.int64)
    for edge in edges:
        found += instants >= edge
    return found


@lru_cache(maxsize=256)
def _edges(days: Days) -> Integers:
    return np.array([(edge - EPOCH) // timedelta(microseconds=1) for edge in days.edges])
