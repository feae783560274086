"""What a person or a program does with jobs from a terminal."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from services.transcoder.jobs.model import State
from tests.transcoder.jobs.harness import Bench, Files
from tests.waiting import wait_until


def nouba(bench: Bench, *arguments: str) -> "subprocess.CompletedProcess[str]":
    call = [str(Path(sys.executable).with_name("nouba")), "transcoder", *arguments]
    environment = {**os.environ, **bench.environment}
    return subprocess.run(call, env=environment, capture_output=True, text=True, timeout=120, check=False)


def read_jobs(bench: Bench) -> list[dict[str, Any]]:
    return list(json.loads(nouba(bench, "jobs", "--json").stdout))


def test_submit_follows_a_file_until_it_can_be_watched(bench: Bench, short_film: Path) -> None:
    course_id = bench.add_course()
    with bench.worker():
        done = nouba(bench, "submit", str(short_film), "--course", str(course_id), "--follow", "--json")

    assert done.returncode == 0, done.stderr
    reported, *statuses = [json.loads(line) for line in done.stdout.splitlines()]
    assert reported["course_id"] == course_id
    percents = [one["percent"] for one in statuses]
    assert percents == sorted(percents), "progress does not go back"
    assert percents[-1] == 100
    assert statuses[-1]["state"] == "completed"
    assert statuses[-1]["master"] == bench.course(course_id)[1]
    assert any(one["speed"] for one in statuses)
    assert [one["state"] for one in read_jobs(bench)] == ["completed"]


def test_submit_says_what_is_wrong(bench: Bench, tmp_path: Path) -> None:
    text = tmp_path / "lesson.mp4"
    text.write_text("no video")
    unknown = nouba(bench, "submit", str(text), "--course", "12345")
    assert unknown.returncode == 1
    assert "There is no course 12345" in unknown.stderr
    assert bench.storage.list("uploads/") == {}

    with bench.worker():
        refused = nouba(bench, "submit", str(text), "--course", str(bench.add_course()), "--follow")
    assert refused.returncode == 1
    assert "not a video" in refused.stdout
    assert re.search(r"Job \d+\.", refused.stderr)


@pytest.mark.slow
def test_cancel_ends_ffmpeg_within_two_seconds_and_retry_makes_the_lesson(
    bench: Bench, film: Path, alone: Files
) -> None:
    course_id, _ = bench.submit(film)
    with bench.worker("transcoder.after_encode=delay:0.2") as worker:
        bench.wait(lambda: running(bench), "nothing is encoded")
        job_id = bench.scalar("SELECT id FROM transcode_jobs")
        cancelled = nouba(bench, "cancel", str(job_id))
        ended = time.monotonic()
        assert cancelled.returncode == 0, cancelled.stderr
        wait_until(lambda: not children_of(worker.pid), message="ffmpeg still runs")
        assert time.monotonic() - ended < 2.5
        assert bench.wait_for(course_id, State.CANCELLED).reason == "The work was cancelled."
        bench.wait(lambda: not bench.storage.list(f"hls/{course_id}/"), "objects are left in S3")
        bench.wait(lambda: not bench.left_in_scratch(), "scratch space is not empty")

    assert nouba(bench, "cancel", str(job_id)).returncode == 1
    assert nouba(bench, "retry", "999").returncode == 1
    assert nouba(bench, "retry", str(job_id)).returncode == 0
    with bench.worker():
        bench.wait_for(course_id)
    assert bench.lesson(course_id) == alone


@pytest.mark.slow
def test_a_newer_upload_takes_the_place_of_one_in_work(bench: Bench, film: Path, alone: Files, tmp_path: Path) -> None:
    other = tmp_path / "other.mp4"
    other.write_bytes(film.read_bytes() + b"\0\0\0\x08free")
    course_id, key = bench.submit(other)
    with bench.worker("transcoder.after_encode=delay:0.5"), bench.worker("transcoder.after_encode=delay:0.5"):
        bench.wait(lambda: running(bench), "nothing is encoded")
        older = bench.job(course_id)
        assert older
        bench.submit(film, course_id)
        bench.wait(lambda: bench.scalar("SELECT count(*) FROM transcode_jobs") == 2, "there is no second job")
        job = bench.wait_for(course_id)
        bench.wait_until_quiet()
        bench.wait(
            lambda: bench.scalar("SELECT cleaned_at FROM transcode_jobs WHERE id = :id", id=older.id), "not clean"
        )

    assert bench.scalar("SELECT state FROM transcode_jobs WHERE id = :id", id=older.id) == State.CANCELLED
    assert job.source_key != key
    assert bench.course(course_id) == ("completed", job.master)
    assert bench.lesson(course_id) == alone
    prefixes = {name.split("/")[2] for name in bench.storage.list(f"hls/{course_id}/")}
    assert len(prefixes) == 1, "of the older upload nothing is left"


def running(bench: Bench) -> Any:
    return bench.scalar("SELECT id FROM transcode_chunks WHERE state = 'running' AND kind = 'video'")


def children_of(pid: int) -> list[str]:
    """The processes that a worker has started, and that still run."""
    found = subprocess.run(["ps", "--ppid", str(pid), "-o", "args="], capture_output=True, text=True, check=False)
    return [line for line in found.stdout.splitlines() if "ffmpeg" in line]
