"""No duty of a process is felt by another: each fails, ends and hangs in turn, in the real process on real servers."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from deploy import background_threads
from local.free_port import free_port
from local.s3 import S3
from tests.waiting import wait_until

PAGE = Path(__file__).parents[2] / "docs" / "background-threads.md"
SUCCESS, LATE, FAILURES = (
    "nouba_thread_last_success_timestamp_seconds",
    "nouba_thread_late_after_seconds",
    "nouba_thread_failures_total",
)
#: By process: how it is started.
COMMANDS = {
    "gateway": ("gateway", "serve"),
    "payments worker": ("gateway", "worker"),
    "events worker": ("gateway", "events-worker"),
    "transcoder worker": ("transcoder", "worker"),
    "statistics worker": ("stats", "worker"),
    "statistics API": ("stats", "api"),
    "playback": ("playback", "serve"),
}

#: What gunicorn starts several processes of.
SEVERAL = {"gateway", "statistics API"}


class Process:
    """One that runs, and whose threads can be broken."""

    def __init__(self, metrics_port: int, control: Path) -> None:
        self._port, self._control = metrics_port, control

    def read(self, metric: str) -> dict[str, float]:
        """By thread."""
        try:
            answer = httpx.get(f"http://127.0.0.1:{self._port}/metrics", timeout=10)
        except httpx.TransportError:
            return {}
        if answer.status_code != 200:
            # it is starting
            return {}
        return {
            sample.labels["thread"]: sample.value
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
            if sample.name == metric
        }

    @contextmanager
    def broken(self, kind: str, thread: str) -> Iterator[float]:
        """Since when."""
        met = self._control.with_suffix(".met")
        self._write(f"{kind} {thread}")
        wait_until(lambda: met.exists() and met.read_text() == f"{kind} {thread}", 30, f"{thread} goes on")
        try:
            yield time.time()
        finally:
            self._write("")

    def others_succeed(self, but: str, since: float) -> bool:
        found = self.read(SUCCESS)
        return bool(found) and all(at > since for thread, at in found.items() if thread != but)

    def succeeds_after(self, thread: str, since: float) -> bool:
        return self.read(SUCCESS)[thread] > since

    def _write(self, line: str) -> None:
        draft = self._control.with_suffix(".new")
        draft.write_text(line)
        draft.replace(self._control)


@contextmanager
def started(name: str, settings: Mapping[str, str], folder: Path) -> Iterator[Process]:
    control, port = folder / "control", free_port()
    control.touch()
    # those of several processes add up in files, which is decided when the program is loaded
    adds_up = {"PROMETHEUS_MULTIPROC_DIR": settings["NOUBA_GATEWAY_METRICS_DIR"]} if name in SEVERAL else {}
    command = [sys.executable, "-m", "tests.operations.programs.faulty", str(control), *COMMANDS[name]]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("NOUBA_")}
    with (folder / "log").open("ab") as log:
        running = subprocess.Popen(
            command,
            env={**environment, **settings, **adds_up, "NOUBA_METRICS_PORT": str(port)},
            cwd=PAGE.parents[1],
            stdout=log,
            stderr=log,
        )
    try:
        process = Process(port, control)
        wait_until(lambda: process.read(SUCCESS) or running.poll() is not None, 60, "it shows no threads")
        assert running.poll() is None, (folder / "log").read_text()[-3000:]
        yield process
    finally:
        running.terminate()
        try:
            running.wait(20)
        finally:
            running.kill()
            running.wait()


@pytest.fixture
def settings(database_url: str, rabbitmq_url: str, s3_server: S3, tmp_path: Path) -> dict[str, str]:
    """Of every process; each reads what it needs."""
    for folder in ("scratch", "spool", "metrics"):
        (tmp_path / folder).mkdir()
    return {
        "NOUBA_DATABASE_URL": database_url,
        "NOUBA_RABBITMQ_URL": rabbitmq_url,
        "NOUBA_S3_ENDPOINT_URL": s3_server.url,
        "NOUBA_S3_BUCKET": "nouba",
        "AWS_ACCESS_KEY_ID": s3_server.access_key_id,
        "AWS_SECRET_ACCESS_KEY": s3_server.secret_access_key,
        "NOUBA_PSP_SATIM_USERNAME": "school",
        "NOUBA_PSP_SATIM_PASSWORD": "bank-password",
        "NOUBA_PSP_SATIM_RETURN_URL": "https://school.example/paid",
        "NOUBA_PLAYBACK_SECRETS": "a-secret-of-the-tests-that-is-long-enough",
        "NOUBA_GATEWAY_SPOOL_DIR": str(tmp_path / "spool"),
        "NOUBA_LEDGER_ANCHOR": f"file://{tmp_path}/anchors",
        "NOUBA_TRANSCODER_SCRATCH_DIR": str(tmp_path / "scratch"),
        "NOUBA_TRANSCODER_SCRATCH_RESERVE_BYTES": "1000000",
        **{f"NOUBA_{name}_PORT": str(free_port()) for name in ("GATEWAY", "STATS", "PLAYBACK")},
        **{f"NOUBA_{name}_METRICS_DIR": str(tmp_path / "metrics") for name in ("GATEWAY", "STATS")},
        **{f"NOUBA_{name}_PROCESSES": "1" for name in ("GATEWAY", "STATS")},
    }


@pytest.mark.parametrize(
    "name", [name if name == "statistics API" else pytest.param(name, marks=pytest.mark.slow) for name in COMMANDS]
)
def test_no_duty_feels_another_that_fails_ends_or_hangs(name: str, settings: dict[str, str], tmp_path: Path) -> None:
    with started(name, settings, tmp_path) as process:
        listed = {duty.thread: duty for duty in background_threads.DUTIES[name]}
        began = time.time()
        wait_until(lambda: process.others_succeed("", began), 60, "a duty does not succeed")

        # what the page says of them is what the process shows
        assert process.read(LATE) == {thread: duty.late_after_seconds for thread, duty in listed.items()}

        for thread in listed:
            for kind in ("fails", "ends", "hangs"):
                failures = process.read(FAILURES).get(thread, 0)
                with process.broken(kind, thread) as since:
                    wait_until(
                        partial(process.others_succeed, thread, since),
                        30,
                        f"another duty feels that {thread} {kind}",
                    )
                    shown = process.read(SUCCESS)[thread]
                    assert shown < since + 0.5, f"{thread} {kind} and is shown as well"
                    has_failed = process.read(FAILURES).get(thread, 0) > failures
                    assert has_failed == (kind != "hangs")
                # and it goes on as soon as it can: what hung was only late
                wait_until(partial(process.succeeds_after, thread, shown), 30, f"{thread} has ended")


def test_the_page_of_duties_is_the_generated_one() -> None:
    assert PAGE.read_text() == background_threads.page(), f"run `python -m deploy.background_threads > {PAGE}`"
