"""Whatever happens to the cache refresher, readers are answered and Prometheus sees how old the answers are."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta

import psycopg2
import pytest
from prometheus_client import REGISTRY

from services.stats.api.cache_refresher import FIRST_LOAD_SECONDS, CacheRefresher
from services.stats.api.snapshot_cache import SnapshotCache
from tests.stats.api.conftest import LAST, Start
from tests.stats.api.snapshots import keep
from tests.waiting import wait_until

Begin = Callable[[Callable[[SnapshotCache], SnapshotCache]], CacheRefresher]


@pytest.fixture
def begin() -> Iterator[Begin]:
    """`begin(check)`: a watch that checks like this, until the end of the test."""
    begun: list[CacheRefresher] = []

    def begin(load: Callable[[SnapshotCache], SnapshotCache]) -> CacheRefresher:
        begun.append(CacheRefresher(load))
        begun[-1].start()
        return begun[-1]

    yield begin
    for watch in begun:
        watch.stop()


def silent_seconds() -> float:
    return REGISTRY.get_sample_value("nouba_stats_cache_age_seconds") or 0.0


def test_a_check_that_hangs_is_reported_while_it_hangs(begin: Begin) -> None:
    answered, released = SnapshotCache(), threading.Event()
    checks: Iterator[Callable[[], object]] = iter([lambda: None, lambda: released.wait(30)])

    def load(before: SnapshotCache) -> SnapshotCache:
        next(checks, lambda: None)()
        return answered

    watch = begin(load)
    assert watch.cache is answered
    wait_until(lambda: silent_seconds() > 3)
    released.set()
    wait_until(lambda: silent_seconds() < 2)


def test_a_check_that_fails_in_an_unknown_way_is_not_the_last_one(begin: Begin) -> None:
    failures = iter([ValueError("a payload that nobody can read"), KeyError("day")])

    def load(before: SnapshotCache) -> SnapshotCache:
        for failure in failures:
            raise failure
        return SnapshotCache()

    failed = REGISTRY.get_sample_value("nouba_stats_cache_refreshes_total", {"outcome": "failed"}) or 0.0
    watch = begin(load)
    wait_until(lambda: watch.cache is not None)
    assert REGISTRY.get_sample_value("nouba_stats_cache_refreshes_total", {"outcome": "failed"}) == failed + 2


def test_a_process_begins_to_answer_though_its_first_check_hangs(begin: Begin) -> None:
    released = threading.Event()

    def load(before: SnapshotCache) -> SnapshotCache:
        released.wait(60)
        return SnapshotCache()

    began = time.monotonic()
    watch = begin(load)
    assert time.monotonic() - began < FIRST_LOAD_SECONDS + 5
    assert watch.cache is None
    wait_until(lambda: silent_seconds() == -1)
    released.set()
    wait_until(lambda: watch.cache is not None)


@pytest.mark.slow
def test_a_lock_in_the_database_is_seen_and_outlived(start: Start, database_url: str) -> None:
    keep(database_url, LAST - timedelta(days=1), LAST)
    api = start(database_url, NOUBA_STATS_PROCESSES="1")

    with closing(psycopg2.connect(database_url)) as locking, locking, locking.cursor() as cursor:
        cursor.execute("LOCK TABLE daily_stats_newest")
        wait_until(lambda: (api.metric("nouba_stats_cache_age_seconds") or 0) > 5)
        assert api.get("/api/stats/latest").status_code == 200
        # the statement is given up, and said to be
        wait_until(lambda: api.metric('nouba_stats_cache_refreshes_total{outcome="failed"}'))

    wait_until(lambda: (api.metric("nouba_stats_cache_age_seconds") or 0) < 5)
