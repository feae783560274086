"""What numpy does with columns quickly is what the plain way finds, for every zone and for ids of any size."""

from zoneinfo import ZoneInfo

import numpy as np
import pytest

from services.stats.sections.base import KeyedBuckets, distinct, order_by, split
from services.stats.sections.subscription_terms import NEVER
from services.stats.sections.term_calendar import _midnights, local_days

DRAWN = np.random.default_rng(7)


@pytest.mark.parametrize("zone", ["Africa/Algiers", "Europe/Paris", "Pacific/Apia", "Africa/Casablanca"])
def test_the_local_day_of_an_instant_is_the_one_that_began_last(zone: str) -> None:
    midnights = _midnights(zone)
    around = DRAWN.integers(midnights[0] - 10**12, midnights[-1] + 10**12, 10_000)
    instants = np.concatenate((around, midnights - 1, midnights, midnights + 1, [0, NEVER, -NEVER - 1]))
    expected = np.clip(np.searchsorted(midnights, instants, side="right") - 1, 0, midnights.size - 1)
    assert np.array_equal(local_days(instants, ZoneInfo(zone)), expected)


@pytest.mark.parametrize("largest", [5, 10**6, 2**62])
def test_rows_are_put_in_order_by_two_columns_whatever_their_ids(largest: int) -> None:
    major, minor = DRAWN.integers(-largest, largest, 1000), DRAWN.integers(0, 40, 1000)
    found, expected = order_by(major, minor, 40), np.lexsort((minor, major))
    for column in (major, minor):
        assert np.array_equal(column[found], column[expected])


@pytest.mark.parametrize("largest", [0, 5, 10**6, 2**62])
def test_different_values_are_found_whether_they_lie_near_each_other_or_not(largest: int) -> None:
    values = DRAWN.integers(-largest, largest, 1000, endpoint=True)
    assert distinct(values).tolist() == sorted(set(values.tolist()))
    assert distinct(values[:0]).size == 0


def test_values_are_split_by_bucket_in_the_order_in_which_they_came() -> None:
    values, buckets = np.array([5, 4, 3, 2, 1]), np.array([3, 0, 3, 2, 0])
    assert [part.tolist() for part in split(values, buckets, 3)] == [[4, 1], [], [2], [5, 3], []]


def test_amounts_are_added_up_by_key_and_bucket_over_several_batches() -> None:
    sums = KeyedBuckets(3)
    sums.add(np.array([7, -1, 7]), np.array([0, 1, 0]), np.array([10, 20, 30]))
    sums.add(np.array([8, 7]), np.array([2, 2]), np.array([1, 2**60]))
    assert sums.by_name({7: "a", 8: "a", -1: "b"}.__getitem__) == {"a": [40, 0, 2**60 + 1], "b": [0, 20, 0]}
