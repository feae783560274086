"""The terms of subscriptions that reach into a run of days: very many, so they come in columns, a part at a time."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from services.stats.columns import Integers
from services.stats.days import Days
from services.stats.numbers import Ask

#: The end of a term that has none.
NEVER = 2**62
#: A chapter's id where a subscription is for none.
NO_CHAPTER = -1
NO_LEVEL, OTHER_LEVEL = 0, -1


@dataclass(frozen=True, slots=True)
class Terms:
    """Some terms, all of them or none of each user; instants are in microseconds since 1970."""

    users: Integers
    begins_at: Integers
    ends_at: Integers
    amounts: Integers
    chapters: Integers
    #: The place of the access level among those that were asked for, counted from 1; NO_LEVEL, or OTHER_LEVEL.
    levels: Integers

    def take(self, which: NDArray[np.bool_]) -> "Terms":
        """Some of these."""
        return Terms(*(getattr(self, field.name)[which] for field in fields(self)))


# Microseconds since 1970 fit into a double exactly, which is several times as fast as the numeric of extract().
_TERMS = """
SELECT user_id, round(date_part('epoch', activated_at) * 1000000)::bigint AS begins_at,
       coalesce(round(date_part('epoch', ends_at) * 1000000)::bigint, %(never)s) AS ends_at, amount_minor,
       coalesce(chapter_id, %(no_chapter)s) AS chapter_id,
       CASE WHEN access_level IS NULL THEN %(no_level)s
            ELSE coalesce(array_position(%(levels)s::text[], access_level), %(other_level)s) END AS level
FROM subscriptions
WHERE status <> 'pending_payment' AND activated_at < %(ends_at)s
  AND (ends_at IS NULL OR (ends_at >= %(begins_at)s AND ends_at > activated_at))
"""
_NAMES = ("user_id", "begins_at", "ends_at", "amount_minor", "chapter_id", "level")
# what is made of a term takes ten times its own space, so users are dealt out
_PART = "user_id %% 16"


# what ANALYZE saw; a scan for a handful of words would cost as much as one for the terms
_LIKELY_LEVELS = """
SELECT unnest(most_common_vals::text::text[]) AS level FROM pg_stats
WHERE schemaname = current_schema() AND tablename = 'subscriptions' AND attname = 'access_level'
"""
_LEVELS = "SELECT DISTINCT access_level AS level FROM subscriptions WHERE access_level IS NOT NULL"


def guess_levels(ask: Ask) -> Iterator[list[str]]:
    """The access levels that are likely to be all; then, for whoever met another one, all."""
    for query in (_LIKELY_LEVELS, _LEVELS):
        yield [row.level for row in ask(query)]


def read_terms(ask: Ask, days: Days, levels: Sequence[str], take: Callable[[Terms], None]) -> None:
    """Give `take`, part by part, the terms that were paid and run in some moment of `days`, or end in their first."""
    limits = {"begins_at": days.begins_at, "ends_at": days.ends_at, "levels": list(levels)}
    codes = {"never": NEVER, "no_chapter": NO_CHAPTER, "no_level": NO_LEVEL, "other_level": OTHER_LEVEL}
    ask.parts(_TERMS, _NAMES, _PART, lambda found: take(Terms(*found)), **codes, **limits)


def buckets(instants: Integers, days: Days) -> Integers:
    """The number of each instant's day, as PostgreSQL's width_bucket has it: 0 is before `days`, len + 1 after them."""
    edges = np.array([int(edge.timestamp()) * 1_000_000 for edge in days.edges])
    return np.searchsorted(edges, instants, side="right")
