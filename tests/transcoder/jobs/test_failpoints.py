"""A transcoder that is killed, fails or is slow at any step between the upload and the lesson makes the same lesson."""

import signal
from pathlib import Path

import pytest

from tests.failpoint_places import DELAY, KILL, RAISE, TRANSCODER
from tests.transcoder.jobs.harness import Bench, Files
from tests.waiting import wait_until

SHORT_LEASE = {"NOUBA_TRANSCODER_LEASE_SECONDS": "1.5", "NOUBA_TRANSCODER_MAX_ATTEMPTS": "100"}


@pytest.mark.slow
def test_workers_killed_at_every_place_one_after_the_other_leave_the_same_lesson(
    bench: Bench, film: Path, alone: Files
) -> None:
    course_id, _ = bench.submit(film)

    left_behind = []
    for place in TRANSCODER:
        with bench.worker(f"{place}={KILL}", **SHORT_LEASE) as worker:
            assert worker.wait(60) == -signal.SIGKILL, f"nobody came to {place}"
        left_behind += bench.left_in_scratch()
    assert left_behind, "a killed worker cannot clean up"
    with bench.worker(**SHORT_LEASE):
        bench.wait_for(course_id)
        bench.wait_until_quiet()
        bench.wait(lambda: not bench.left_in_scratch(), "nobody cleaned up for the dead")

    assert bench.lesson(course_id) == alone
    wait_until(lambda: bench.depths().get("default") == 1, message="the statistics are not notified once")


def test_a_worker_that_fails_once_at_every_place_makes_the_same_lesson(bench: Bench, film: Path, alone: Files) -> None:
    course_id, _ = bench.submit(film)
    with bench.worker(";".join(f"{place}={RAISE}" for place in TRANSCODER), **SHORT_LEASE):
        bench.wait_for(course_id, timeout_seconds=120)
        bench.wait_until_quiet()
    assert bench.lesson(course_id) == alone
    assert_all_passed(bench)


@pytest.mark.slow
def test_a_worker_that_is_slow_once_at_every_place_makes_the_same_lesson(
    bench: Bench, film: Path, alone: Files
) -> None:
    course_id, _ = bench.submit(film)
    with bench.worker(";".join(f"{place}={DELAY}" for place in TRANSCODER), **SHORT_LEASE):
        bench.wait_for(course_id, timeout_seconds=120)
        bench.wait_until_quiet()
    assert bench.lesson(course_id) == alone
    assert_all_passed(bench)


def assert_all_passed(bench: Bench) -> None:
    reported = bench.log.read_text()
    assert [place for place in TRANSCODER if f"failpoint {place}: " not in reported] == []
