"""Documents that were made of the days are kept, up to a bound in number and in bytes."""

import os

from services.stats.api.cached_response import CachedResponse, document
from services.stats.api.snapshot_cache import LARGEST_MADE, SnapshotCache


def test_a_reader_who_asks_for_every_range_does_not_fill_the_memory() -> None:
    # Given documents that are large, as a year of days is, and do not compress
    cache = SnapshotCache()
    body = os.urandom(1 << 20)

    # When many of them are asked for, each once
    for number in range(100):
        cache.make(number, lambda: document(body, "text/plain"))
        # Then no more than the bound is held
        assert sum(one.size_bytes for one in cache._made.values()) <= 32 << 20


def test_small_documents_are_made_once_up_to_a_number() -> None:
    cache, made = SnapshotCache(), []

    def how() -> CachedResponse:
        made.append(1)
        return document(b"a", "text/plain")

    for _ in range(2):
        for number in range(LARGEST_MADE):
            cache.make(number, how)
    assert len(made) == LARGEST_MADE
