"""Damaged uploads through the worker: completed with a warning, or failed with what was shown still there."""

import re
from pathlib import Path

import pytest

from services.transcoder.jobs.model import State
from services.transcoder.jobs.status import JobStatus
from tests.transcoder.jobs.harness import Bench, made_alone, make_film
from tests.transcoder.jobs.test_cli_jobs import nouba, read_jobs
from tests.transcoder.test_damaged_films import flipped, noisy, without_packet
from tests.transcoder.test_ordinary_films import FAST, cache

__all__ = ["cache"]


def assert_warned(bench: Bench, job: JobStatus) -> None:
    """The job's row and both forms of `nouba transcoder jobs` say where the picture is damaged, and how much."""
    (warning,) = job.warnings
    assert warning["code"] == "damaged_picture"
    # the middle of 20 seconds; a frame or two are lost
    assert re.match(r"The picture is damaged at 0:(09|10), 0\.[1-9] seconds in all\. ", warning["text"]), warning
    assert f"Warning: {warning['text']}" in nouba(bench, "jobs").stdout
    assert read_jobs(bench)[0]["warnings"] == [warning]
    assert job.reason is None


@pytest.mark.slow
def test_one_flipped_byte_in_an_mp4_costs_a_warning_and_not_the_lesson(
    bench: Bench, cache: Path, tmp_path: Path
) -> None:
    film = flipped(noisy(cache, "mp4", *FAST, "-g", "50"), tmp_path / "film.mp4", 0.5)
    course_id, _ = bench.submit(film)

    with bench.worker():
        job = bench.wait_for(course_id)
        bench.wait_until_quiet()

    assert bench.course(course_id) == ("completed", job.master)
    assert_warned(bench, job)
    assert bench.lesson(course_id) == made_alone(film, tmp_path)


@pytest.mark.slow
def test_a_missing_transport_packet_costs_a_warning_and_not_the_lesson(
    bench: Bench, cache: Path, tmp_path: Path
) -> None:
    film = without_packet(noisy(cache, "ts", *FAST, "-g", "50"), tmp_path / "film.ts")
    course_id, _ = bench.submit(film)

    with bench.worker():
        job = bench.wait_for(course_id)
        bench.wait_until_quiet()

    assert_warned(bench, job)
    assert bench.lesson(course_id) == made_alone(film, tmp_path)


@pytest.mark.slow
def test_damage_that_is_too_much_only_in_all_fails_the_job_at_its_end(
    bench: Bench, cache: Path, tmp_path: Path
) -> None:
    # some nine frames of 500, at most three in each of the four chunks: less than a hundredth each
    film = noisy(cache, "mp4", *FAST, "-g", "50")
    for number, share in enumerate((0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)):
        film = flipped(film, tmp_path / f"{number}.mp4", share)
    course_id, _ = bench.submit(film)

    with bench.worker():
        job = bench.wait_for(course_id, State.FAILED)

    assert job.reason
    assert "damaged" in job.reason
    assert job.detail
    assert "s of the picture do not decode" in job.detail
    assert job.warnings == ()
    assert bench.scalar("SELECT max(attempts) FROM transcode_chunks WHERE kind = 'publish'") == 1


@pytest.mark.slow
def test_what_is_shown_first_stays_when_the_rest_fails_and_gives_way_to_the_next_upload(
    bench: Bench, film: Path, tmp_path: Path
) -> None:
    # H.264 is shown as it is, before anything is decoded: with one part at a time, before the job can fail
    damaged = make_film(tmp_path / "web.mp4", codec="libx264")
    flipped(damaged, damaged, 0.5, damaged.stat().st_size // 5)
    course_id, _ = bench.submit(damaged)

    with bench.worker(NOUBA_TRANSCODER_CONCURRENCY="1"):
        job = bench.wait_for(course_id, State.FAILED)
        bench.wait(lambda: bench.scalar("SELECT cleaned_at FROM transcode_jobs"), "the job is not cleaned")
        bench.wait(lambda: not bench.left_in_scratch(), "scratch space is not empty")

    status, shown = bench.course(course_id)
    assert status == "failed"
    assert job.reason
    assert "damaged" in job.reason
    assert shown
    prefix = shown.removesuffix("master.m3u8")
    assert prefix.endswith("/first/")
    left = bench.storage.list(f"hls/{course_id}/")
    assert all(key.startswith(prefix) for key in left), "only what is shown is left"
    assert {"master.m3u8", "source/media.m3u8", "source/00000.m4s"} <= {key.removeprefix(prefix) for key in left}

    bench.submit(film, course_id)
    with bench.worker("transcoder.after_encode=delay:3600"), bench.worker("transcoder.after_encode=delay:3600"):
        bench.wait(lambda: bench.course(course_id)[1] != shown, "the next upload's preview is not shown")
    assert str(bench.course(course_id)[1]).endswith("/first/master.m3u8")
