"""What Prometheus reads: the processes add up, and no label comes from a reader."""

import math
import re
import time
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from services.stats.sections import SECTIONS
from services.stats.sections.base import Unit
from tests.stats.api.conftest import LAST, Start
from tests.stats.api.processes import PLAIN
from tests.stats.api.snapshots import keep, keep_version, payload_of
from tests.waiting import wait_until


def test_the_processes_of_one_api_add_up(start: Start, database_url: str) -> None:
    keep(database_url, LAST - timedelta(days=3), LAST)
    api = start(database_url, NOUBA_STATS_PROCESSES="3")
    tag = api.get("/api/stats/latest").headers["ETag"]

    # a connection each, so that all processes get some
    for _ in range(20):
        api.get("/api/stats/latest")
        api.get("/api/stats/latest", headers={**PLAIN, "If-None-Match": tag})
        api.get(f"/api/stats/{LAST}")
    api.get("/api/stats/2001-01-01")
    api.get("/made-up-by-a-reader")

    def count(route: str, status: int) -> float | None:
        return api.metric(f'nouba_stats_requests_total{{route="{route}",status="{status}"}}')

    assert (count("/api/stats/latest", 200), count("/api/stats/latest", 304)) == (21, 20)
    assert (count("/api/stats/<day>", 200), count("/api/stats/<day>", 404)) == (20, 1)
    assert count("none", 404) == 1
    assert api.metric('nouba_stats_request_seconds_count{route="/api/stats/latest"}') == 41
    assert "made-up" not in httpx.get(api.metrics_url).text


def test_the_age_of_the_newest_day_and_the_state_of_the_memory_are_shown(start: Start, database_url: str) -> None:
    keep(database_url, LAST - timedelta(days=3), LAST)
    api = start(database_url)

    # both processes know all days, and what they show comes after what they know
    wait_until(lambda: api.metric("nouba_stats_cache_days") == 4)
    ended = wait_until(lambda: api.metric("nouba_stats_newest_day_end_timestamp_seconds"))
    computed = api.metric("nouba_stats_last_success_timestamp_seconds")

    assert ended is not None
    assert computed is not None
    assert abs(computed - time.time()) < 120
    assert abs((api.metric("nouba_stats_age_seconds") or 0) - (time.time() - ended)) < 10
    assert abs((api.metric("nouba_stats_delay_seconds") or 0) - (computed - ended)) < 0.001
    assert 0 <= (api.metric("nouba_stats_cache_age_seconds") or 0) < 5
    wait_until(lambda: (api.metric('nouba_stats_cache_refreshes_total{outcome="changed"}') or 0) >= 2)
    wait_until(lambda: api.metric('nouba_stats_cache_refreshes_total{outcome="same"}'))


def test_the_plain_numbers_of_the_newest_day_are_shown_and_go_with_it(start: Start, database_url: str) -> None:
    keep(database_url, LAST - timedelta(days=1), LAST)
    api = start(database_url)

    gauges = {
        Unit.COUNT: ("quantity", 1.0),
        Unit.MINOR: ("amount_minor_units", 1.0),
        Unit.BASIS_POINTS: ("ratio", 1e-4),
        Unit.HUNDREDTHS: ("mean", 1e-2),
        Unit.MILLISECONDS: ("duration_seconds", 1e-3),
        Unit.MINUTES: ("duration_seconds", 60.0),
        Unit.BYTES: ("size_bytes", 1.0),
    }
    units = {(section.name, number.name): number.unit for section in SECTIONS for number in section.numbers}

    def number(section: str, name: str) -> float | None:
        gauge, factor = gauges[units[section, name]]
        found = api.metric(f'nouba_stats_{gauge}{{name="{name}",section="{section}"}}')
        return None if found is None else found / factor

    sections = payload_of(LAST, 1)["sections"]
    plain = {
        (section, name): value
        for section, found in sections.items()
        for name, value in found["numbers"].items()
        if isinstance(value, int)
    }
    # they are set one after the other
    wait_until(lambda: all(number(*key) is not None for key in plain))
    assert {key: number(*key) for key in plain} == pytest.approx(plain)
    assert number("users", "by_role") is None
    shown = httpx.get(api.metrics_url).text
    reported = sum(shown.count(f"\nnouba_stats_{gauge}{{") for gauge in {gauge for gauge, _ in gauges.values()})
    assert reported == len(plain), "no process has its own"

    # another version, in which a number is left out
    keep_version(database_url, LAST, 2, without=("subscriptions", "nrr_30"))

    wait_until(lambda: math.isnan(number("subscriptions", "nrr_30") or 0))
    wait_until(lambda: number("revenue", "net") == plain["revenue", "net"] + 1)


def test_a_database_that_never_answered_is_seen(start: Start) -> None:
    api = start("postgresql://nobody@127.0.0.1:1/nothing")

    assert wait_until(lambda: api.metric('nouba_stats_cache_refreshes_total{outcome="failed"}'))
    # every process says so, and each only once its own first scan has failed
    assert wait_until(lambda: api.metric("nouba_stats_cache_age_seconds") == -1)
    assert api.metric("nouba_stats_cache_days") == 0


def test_the_database_is_asked_once_a_second_however_many_read(start: Start, database_url: str) -> None:
    keep(database_url, LAST, LAST)
    api = start(database_url, NOUBA_STATS_PROCESSES="1")
    began = time.monotonic()

    with httpx.Client(base_url=api.url) as client:
        for _ in range(300):
            client.get("/api/stats/latest")

    shown = httpx.get(api.metrics_url).text
    checks = sum(float(number) for number in re.findall(r"cache_refreshes_total\{.*\} (\S+)", shown))
    # one at the start, one a second from then on, and the time that the start itself took
    assert checks <= time.monotonic() - began + 12


def test_a_killed_apis_folder_goes_with_the_next_start(start: Start, database_url: str, tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    killed = start(database_url, TMPDIR=str(temporary))
    (left,) = temporary.glob("nouba-*")
    killed.kill()
    assert left.exists()

    newest = start(database_url, TMPDIR=str(temporary))

    assert not left.exists()
    assert newest.stop() == 0
    assert list(temporary.iterdir()) == []
