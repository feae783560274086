"""The terms of subscriptions that reach into a run of days: very many, so they come in columns, a part at a time."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from services.stats.copy_binary import EPOCH, Integers
from services.stats.days import Days
from services.stats.sections.base import NONE, Query

#: The end of a term that has none.
NEVER = 2**63 - 1
#: The chapter and the access level of a subscription that has none; nobody's id is so far down.
NONE_GIVEN = -(2**62)


@dataclass(frozen=True, slots=True)
class SubscriptionTerms:
    """Some terms, all of them or none of each user; instants are in microseconds since EPOCH."""

    users: Integers
    begins_at: Integers
    ends_at: Integers
    amounts: Integers
    chapters: Integers
    #: What stands for the access level; `level_names` knows its name.
    levels: Integers

    def where(self, which: NDArray[np.bool_]) -> "SubscriptionTerms":
        """Some of these."""
        return SubscriptionTerms(*(getattr(self, field.name)[which] for field in fields(self)))


_TERMS = """
SELECT user_id, greatest(activated_at, '0001-01-01Z') AS begins_at, coalesce(ends_at, 'infinity') AS ends_at,
       amount_minor, coalesce(chapter_id, %(none)s) AS chapter_id,
       coalesce(hashtextextended(access_level, 0), %(none)s) AS level
FROM subscriptions
WHERE status <> 'pending_payment' AND activated_at < %(ends_at)s
  AND (ends_at IS NULL OR (ends_at >= %(begins_at)s AND ends_at > activated_at))
"""
_NAMES = ("user_id", "begins_at", "ends_at", "amount_minor", "chapter_id", "level")
# what is made of a term takes ten times its own space, so users are dealt out
_PART = "user_id %% 16"


def read_terms(ask: Query, days: Days, take: Callable[[SubscriptionTerms], None]) -> None:
    """Give `take`, part by part, the terms that run in some moment of `days`, or end in their first, and do not wait
    for payment."""
    limits = {"begins_at": days.begins_at, "ends_at": days.ends_at}
    ask.parts(_TERMS, _NAMES, _PART, lambda found: take(SubscriptionTerms(*found)), none=NONE_GIVEN, **limits)


# those that ANALYZE saw, and then all: a scan for a handful of words costs as much as one for the terms
_LEVELS = (
    """
    SELECT level, hashtextextended(level, 0) AS key FROM (
        SELECT unnest(most_common_vals::text::text[]) AS level FROM pg_stats
        WHERE schemaname = current_schema() AND tablename = 'subscriptions' AND attname = 'access_level'
    ) AS seen
    """,
    """
    SELECT DISTINCT access_level AS level, hashtextextended(access_level, 0) AS key FROM subscriptions
    WHERE access_level IS NOT NULL
    """,
)


def level_names(ask: Query, keys: Iterable[int]) -> dict[int, str]:
    """The access levels that these of `Terms.levels` stand for."""
    names = {NONE_GIVEN: NONE}
    for query in _LEVELS:
        if names.keys() >= set(keys):
            break
        names |= {row.key: row.level for row in ask(query)}
    return names


def buckets(instants: Integers, days: Days) -> Integers:
    """The number of each instant's day, as PostgreSQL's width_bucket has it: 0 is before `days`, len + 1 after them."""
    edges = np.array([(edge - EPOCH) // timedelta(microseconds=1) for edge in days.edges])
    return np.searchsorted(edges, instants, side="right")
