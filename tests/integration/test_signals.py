"""Every long-running command goes on after STOP and CONT, and ends at Ctrl-C."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from local.free_port import free_port
from local.s3 import BUCKET, S3
from tests.variations import variations
from tests.waiting import wait_until
from tests.webhook_gateway.processes import SETTINGS, Running

#: Each command, and the setting of the port on which it answers `/healthz`; a worker has its metrics alone.
COMMANDS = {
    "gateway serve": "NOUBA_GATEWAY_PORT",
    "gateway worker": None,
    "gateway events-worker": None,
    "console serve": "NOUBA_CONSOLE_PORT",
    "transcoder worker": None,
    "stats worker": None,
    "stats scheduler": None,
    "stats api": "NOUBA_STATS_PORT",
    "playback serve": "NOUBA_PLAYBACK_PORT",
}
#: A worker may finish the job in hand; none has one here.
END_SECONDS = 20


@pytest.fixture
def settings(database_url: str, rabbitmq_url: str, s3_server: S3, tmp_path: Path) -> dict[str, str]:
    return {
        **SETTINGS,
        "NOUBA_DATABASE_URL": database_url,
        "NOUBA_RABBITMQ_URL": rabbitmq_url,
        "NOUBA_S3_ENDPOINT_URL": s3_server.url,
        "NOUBA_S3_BUCKET": BUCKET,
        "AWS_ACCESS_KEY_ID": s3_server.access_key_id,
        "AWS_SECRET_ACCESS_KEY": s3_server.secret_access_key,
        "NOUBA_TRANSCODER_SCRATCH_DIR": str(tmp_path),
        "NOUBA_PLAYBACK_SECRETS": "a-secret-that-signs-addresses-of-lessons",
        "NOUBA_CONSOLE_OPERATOR_TOKENS": "an-operator's-token-of-32-letters",
        "NOUBA_METRICS_PORT": str(free_port()),
        "PATH": os.environ["PATH"],
    }


def answers(url: str) -> bool:
    """Whether it answers soon; a stopped process takes the connection and says nothing."""
    with suppress(httpx.TransportError):
        return httpx.get(url, timeout=2).status_code == 200
    return False


@pytest.mark.parametrize(
    "command",
    # one command is proof enough of what all of them share
    [pytest.param(name, marks=() if name == "gateway worker" else pytest.mark.slow) for name in COMMANDS],
)
def test_a_command_goes_on_after_a_stop_and_ends_at_ctrl_c(
    command: str, settings: dict[str, str], tmp_path: Path
) -> None:
    urls = [f"http://127.0.0.1:{settings['NOUBA_METRICS_PORT']}/metrics"]
    if (setting := COMMANDS[command]) is not None:
        settings[setting] = str(free_port())
        urls.append(f"http://127.0.0.1:{settings[setting]}/healthz")
    with Running(command.split(), tmp_path / "log", settings) as running:
        running.ready_when(lambda: all(answers(url) for url in urls))

        os.killpg(running.process.pid, signal.SIGSTOP)
        assert not any(answers(url) for url in urls)
        os.killpg(running.process.pid, signal.SIGCONT)
        wait_until(lambda: all(answers(url) for url in urls), 20, running.log)

        # a terminal sends it to the whole group
        os.killpg(running.process.pid, signal.SIGINT)
        assert running.process.wait(END_SECONDS) == 0, running.log
        assert "Traceback" not in running.log


def test_a_scheduler_that_was_stopped_over_the_minute_fires_again(settings: dict[str, str], tmp_path: Path) -> None:
    # Given a scheduler a few seconds before a minute of its schedule
    at = datetime(2026, 3, 27, 12, 9, 52, tzinfo=UTC)
    settings["NOUBA_STATS_SCHEDULE"] = "*/5 * * * *"
    with (tmp_path / "log").open("ab") as log:
        scheduler = subprocess.Popen(
            [sys.executable, "-m", "tests.stats.programs.at", at.isoformat(), "stats", "scheduler"],
            env=settings,
            stdout=log,
            stderr=log,
            cwd=Path(__file__).parents[2],
        )
    begun = time.monotonic()
    try:
        wait_until(lambda: sweeps(settings) == 1, 20, "it did not check at the start")

        # When it is stopped over the minute
        scheduler.send_signal(signal.SIGSTOP)
        while time.monotonic() < begun + 12:
            time.sleep(0.1)
        scheduler.send_signal(signal.SIGCONT)

        # Then it makes up for it at once
        wait_until(lambda: sweeps(settings) == 2, 5, "it did not fire again")
    finally:
        scheduler.kill()
        scheduler.wait()


def sweeps(settings: dict[str, str]) -> float:
    with suppress(httpx.TransportError):
        text = httpx.get(f"http://127.0.0.1:{settings['NOUBA_METRICS_PORT']}/metrics", timeout=2).text
        return sum(float(line.split()[1]) for line in text.splitlines() if line.startswith("nouba_stats_sweeps_total "))
    return 0.0


@pytest.fixture
def silent_server() -> Iterator[int]:
    """A server that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


@pytest.mark.parametrize("options", [[], pytest.param(["--json"], marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "silent", variations([None, "NOUBA_DATABASE_URL", "NOUBA_RABBITMQ_URL"], ["NOUBA_RABBITMQ_URL"])
)
def test_a_watch_ends_at_ctrl_c_whatever_it_waits_for(
    settings: dict[str, str], tmp_path: Path, silent_server: int, silent: str | None, options: list[str]
) -> None:
    if silent:
        scheme = "postgresql" if silent == "NOUBA_DATABASE_URL" else "amqp"
        settings[silent] = f"{scheme}://nouba:x@127.0.0.1:{silent_server}/nouba"
    for number in range(3):
        with Running(["queues", "--watch", *options], tmp_path / f"log {number}", settings) as watch:
            wait_until(lambda: handles_ctrl_c(watch.process.pid), 20)
            # at another place of its round each time
            time.sleep(0.15 * number)
            watch.process.send_signal(signal.SIGINT)
            assert watch.process.wait(3) == 0, watch.log


def handles_ctrl_c(pid: int) -> bool:
    """Whether the process is past its start: its thread that checks runs."""
    return len(list(Path(f"/proc/{pid}/task").iterdir())) > 1
