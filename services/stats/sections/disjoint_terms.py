"""Cuts overlapping subscription terms of one user and chapter into disjoint intervals."""

from dataclasses import dataclass
from itertools import groupby, pairwise
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from services.stats.binary_column_reader import Integers
from services.stats.sections.subscription_terms import NEVER


@dataclass(frozen=True, slots=True)
class Pieces:
    """By user and chapter, and in the order of time: the term that counts from an instant until another."""

    terms: Integers
    begins_at: Integers
    ends_at: Integers
    #: Whether it begins a run: nothing of the same user and chapter counts right before it.
    is_first: NDArray[np.bool_]
    #: Whether it ends one.
    is_last: NDArray[np.bool_]


def cut(pairs: Integers, begins_at: Integers, ends_at: Integers) -> Pieces:
    """Of the terms that run at a moment, the one that began last counts. `pairs` says whose each is, a number up to
    theirs; all are in order of that, and of when they begin."""
    number = pairs.size
    is_same = np.append(pairs[1:] == pairs[:-1], False)[:number]
    following = np.where(is_same, np.append(begins_at[1:], NEVER)[:number], NEVER)
    # where a term outlasts a later one, it counts again after that
    outlasts = is_same & (ends_at > np.append(ends_at[1:], NEVER)[:number])
    is_tangled = np.zeros(number + 2, np.bool_)
    is_tangled[pairs[outlasts]] = True
    tangled = is_tangled[pairs]
    ends = np.minimum(ends_at, following)
    plain = np.flatnonzero(~tangled & (ends > begins_at))
    # the pairs that are tangled have no plain pieces, so theirs come in one place each
    pieces = _untangle(np.flatnonzero(tangled), pairs, begins_at, ends_at)
    places = np.searchsorted(pairs[plain], pairs[pieces[0]])
    terms, begins, ends = (
        np.insert(column, places, others)
        for column, others in zip((plain, begins_at[plain], ends[plain]), pieces, strict=True)
    )
    whose = pairs[terms]
    goes_on = (whose[1:] == whose[:-1]) & (begins[1:] == ends[:-1])
    return Pieces(terms, begins, ends, np.append(True, ~goes_on)[: terms.size], np.append(~goes_on, True)[: terms.size])


def _untangle(tangled: Integers, pairs: Integers, begins_at: Integers, ends_at: Integers) -> Integers:
    """The same of the terms `tangled` alone, in three rows. They are few and their pairs are small, so that Python's
    own lists are quicker."""
    columns = zip(
        *(column.tolist() for column in (pairs[tangled], tangled, begins_at[tangled], ends_at[tangled])), strict=True
    )
    found: list[tuple[int, int, int]] = []
    for _, terms in groupby(columns, itemgetter(0)):
        # the one that began last comes first
        latest = list(terms)[::-1]
        edges = sorted({edge for _, _, begin, end in latest for edge in (begin, end)})
        for begin, end in pairwise(edges):
            running = next((term for _, term, begun, ended in latest if begun <= begin < ended), None)
            if running is not None:
                found.append((running, begin, end))
    return np.array(found, np.int64).reshape(-1, 3).T
