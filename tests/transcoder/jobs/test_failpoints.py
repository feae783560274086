"""A transcoder that is killed, fails or is slow at any step between the upload and the lesson makes the same lesson."""

import signal
from pathlib import Path

import pytest

from tests.failpoint_places import DELAY, KILL, RAISE, TRANSCODER
from tests.transcoder.jobs.harness import Bench, Files

SHORT_LEASE = {"NOUBA_TRANSCODER_LEASE_SECONDS": "1.5", "NOUBA_TRANSCODER_MAX_ATTEMPTS": "100"}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_workers_killed_at_every_place_leave_the_same_lesson(
    bench: Bench, short_film: Path, short_alone: Files
) -> None:
    courses = []
    for place in TRANSCODER:
        # one that has every step before it: how far the others came until a worker was killed, time alone decides
        courses.append(bench.submit(short_film)[0])
        with bench.worker(f"{place}={KILL}", **SHORT_LEASE) as worker:
            assert worker.wait(60) == -signal.SIGKILL, f"nobody came to {place}"
    with bench.worker(**SHORT_LEASE):
        for course_id in courses:
            bench.wait_for(course_id)
        bench.wait_until_quiet()
    assert [course_id for course_id in courses if bench.lesson(course_id) != short_alone] == []


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
