"""One transcoder and one payments worker fewer, as a scaler has it: by SIGTERM, in the middle of their work."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from tests.e2e.cluster.cluster import Cluster
from tests.e2e.compose.load import await_lesson, upload_lesson
from tests.waiting import wait_until

#: Both transcoders are at work at the same time for long enough to be asked.
FILM_SECONDS = 40
WORKERS = 2
_PARTS = """
    SELECT kind || ' ' || number, c.state, coalesce(lease_owner, ''), coalesce(c.finished_at::text, '')
    FROM transcode_chunks c JOIN transcode_jobs j ON j.id = c.job_id WHERE j.course_id = {course}
"""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a lesson; its owner is new with each worker that takes it."""

    state: str
    owner: str
    finished_at: str


def scale_in(cluster: Cluster, timeout_seconds: float) -> str:
    """Stop one of two while both encode, and say what that cost.

    Raises AssertionError where more than the one part that was in work is made again.
    """
    course = upload_lesson(cluster, cluster.film_of(FILM_SECONDS, "1280x720"))

    def at_work() -> dict[str, Part] | None:
        parts = _parts(cluster, course)
        running = [name for name, part in parts.items() if part.state == "running" and name.startswith("video")]
        return parts if len(running) == WORKERS else None

    before = wait_until(at_work, timeout_seconds, "the two transcoders are not at work together")
    assert before is not None
    began, stopped = time.monotonic(), []
    try:
        for service in ("transcoder", "payments-worker"):
            stopped.append(cluster.stop_one(service))
        took = time.monotonic() - began
        return _judge(cluster, course, before, took, timeout_seconds)
    finally:
        cluster.start_containers(stopped)


def _judge(cluster: Cluster, course: str, before: Mapping[str, Part], took: float, timeout_seconds: float) -> str:
    after = _parts(cluster, course)
    given_back = [
        name
        for name, part in before.items()
        if part.state == "running" and after[name].state != "done" and after[name].owner != part.owner
    ]
    assert len(given_back) <= 1, f"more than one part was given back: {given_back}"
    status, _ = await_lesson(cluster, course, timeout_seconds)
    assert status == "completed", status
    whole = _parts(cluster, course)
    again = [name for name, part in after.items() if part.state == "done" and whole[name] != part]
    assert not again, f"parts that were done were made again: {again}"
    lost = f"{given_back[0]} was given back" if given_back else "its part was done just then, which proves nothing"
    return f"Scaled in: {lost}; of {len(whole)} parts none that was done was made again; ended within {took:.0f} s."


def _parts(cluster: Cluster, course: str) -> dict[str, Part]:
    rows = cluster.sql("nouba", _PARTS.format(course=int(course))).stdout.splitlines()
    return {name: Part(*rest) for name, *rest in (row.split("|") for row in rows)}
