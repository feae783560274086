"""The database goes away and comes back, versions are replaced, processes die: readers notice nothing of it."""

import os
import re
import signal
import threading
from datetime import timedelta

import httpx

from local.postgres import Postgres
from tests.stats.api.conftest import LAST, Library, Start
from tests.stats.api.processes import PLAIN, ZIPPED
from tests.stats.api.snapshots import keep, version_of
from tests.waiting import wait_until

WEEK = LAST - timedelta(days=6)


def test_the_days_are_answered_while_the_database_is_away_and_newer_ones_when_it_is_back(
    own_postgres: Postgres, start: Start
) -> None:
    keep(own_postgres.url, WEEK, LAST)
    api = start(own_postgres.url)
    # both processes: one that is still starting has no days to answer with
    wait_until(lambda: api.metric('nouba_stats_cache_refreshes_total{outcome="changed"}') == 2)
    before = api.get("/api/stats/latest")
    assert "Nouba-Stale-Seconds" not in before.headers
    assert api.get("/readyz").json()["status"] == "ready"

    own_postgres.kill()

    # every answer until it is known to be stale, and after, is whole
    def stale() -> bool:
        answers = [api.get("/api/stats/latest"), api.get(f"/api/stats/{WEEK}"), api.get("/?lang=fr")]
        assert [answer.status_code for answer in answers] == [200, 200, 200]
        assert answers[0].content == before.content
        return all("Nouba-Stale-Seconds" in answer.headers for answer in answers)

    wait_until(stale)
    assert int(api.get("/api/stats/latest").headers["Nouba-Stale-Seconds"]) >= 5
    refused = api.get("/readyz")
    assert (refused.status_code, refused.json()["reason"]) == (503, "The database does not answer.")
    assert api.get("/healthz").status_code == 200
    held = {**PLAIN, "If-None-Match": before.headers["ETag"]}
    assert api.get("/api/stats/latest", headers=held).status_code == 304

    own_postgres.start()
    keep(own_postgres.url, LAST, LAST, version=2)

    api.wait_for_version(str(LAST), 2)
    wait_until(lambda: api.get("/readyz").status_code == 200)
    assert "Nouba-Stale-Seconds" not in api.get("/api/stats/latest").headers
    # once a process, however long it was away; the other one may notice later
    wait_until(lambda: api.log.count("the database is back") == 2)
    assert api.log.count("the database is away") == 2


def test_an_api_that_starts_without_a_database_says_so_until_it_has_one(own_postgres: Postgres, start: Start) -> None:
    keep(own_postgres.url, LAST, LAST)
    own_postgres.stop()

    api = start(own_postgres.url)

    refused = api.get("/api/stats/latest")
    assert (refused.status_code, refused.json()["error"], refused.headers["Retry-After"]) == (503, "unavailable", "5")
    assert api.get("/").status_code == 503
    own_postgres.start()
    wait_until(lambda: api.get("/api/stats/latest").status_code == 200)


def test_a_reader_never_sees_a_mix_of_versions(database_url: str, start: Start) -> None:
    known = {number: version_of(LAST, number) for number in range(1, 8)}
    keep(database_url, WEEK, LAST)
    api = start(database_url)
    seen: set[str] = set()
    stop = threading.Event()
    faults: list[str] = []

    def read() -> None:
        while not stop.is_set():
            for headers in (PLAIN, ZIPPED):
                answer = httpx.get(f"{api.url}/api/stats/latest", headers=headers)
                kept = known[int(answer.headers["Nouba-Version"])]
                suffix = "-gzip" if headers is ZIPPED else ""
                if answer.headers["ETag"] != f'"{kept.etag}{suffix}"' or answer.json() != kept.payload:
                    faults.append(answer.headers["Nouba-Version"])
                seen.add(answer.headers["Nouba-Version"])

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(2, 8):
        keep(database_url, LAST, LAST, version=number)
        wait_until(lambda number=number: str(number) in seen)  # type: ignore[misc]
    stop.set()
    for reader in readers:
        reader.join()

    assert not faults
    assert seen >= {"2", "7"}


def test_a_failed_attempt_changes_nothing_for_readers(database_url: str, start: Start) -> None:
    keep(database_url, WEEK, LAST)
    api = start(database_url)

    keep(database_url, LAST, LAST, version=2, complete=False)
    keep(database_url, WEEK, WEEK, version=2)

    # the later one is seen, so the earlier one was checked
    api.wait_for_version(str(WEEK), 2)
    assert api.get("/api/stats/latest").headers["Nouba-Version"] == "1"


def test_a_killed_process_is_replaced(database_url: str, start: Start) -> None:
    keep(database_url, LAST, LAST)
    api = start(database_url, NOUBA_STATS_PROCESSES="1")
    victim = int(re.findall(r"Booting worker with pid: (\d+)", api.log)[0])

    os.kill(victim, signal.SIGKILL)

    wait_until(lambda: len(re.findall("Booting worker", api.log)) == 2)
    assert api.get("/api/stats/latest").status_code == 200


def test_it_stops_at_once_and_leaves_nothing(database_url: str, start: Start) -> None:
    api = start(database_url)

    assert api.stop(grace_seconds=10) == 0
    assert "Traceback" not in api.log


def test_old_days_are_not_ready(database_url: str, start: Start) -> None:
    keep(database_url, LAST - timedelta(days=2), LAST - timedelta(days=2))
    api = start(database_url)

    answer = api.get("/readyz")

    assert answer.status_code == 503
    assert "hours ago" in answer.json()["reason"]
    assert answer.json()["newest_day"] == str(LAST - timedelta(days=2))


def test_fresh_days_are_ready(library: Library) -> None:
    answer = library.client.get("/readyz")

    assert answer.status_code == 200
    assert (answer.json()["status"], answer.json()["database"]) == ("ready", True)
