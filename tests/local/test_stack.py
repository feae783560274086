"""`up`, `env`, `status` and `down`, with small processes in place of Nouba's own."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import psycopg2
import pytest

from local.daemon import MARK
from local.postgres import Postgres
from tests.waiting import wait_until

_GATEWAY = """\
import http.server, os
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Nouba-Instance", os.environ["NOUBA_INSTANCE"])
        self.end_headers()
        self.wfile.write(f"{os.getpid()} {os.environ['NOUBA_METRICS_PORT']}".encode())
http.server.HTTPServer(("127.0.0.1", int(os.environ["NOUBA_GATEWAY_PORT"])), Answer).serve_forever()
"""

Local = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Local]:
    """`python -m local` with a home and a Procfile of its own."""
    (tmp_path / "gateway.py").write_text(_GATEWAY)
    (tmp_path / "Procfile").write_text(
        f"gateway: python {tmp_path}/gateway.py\npayments-worker: while :; do sleep 1; done\n"
    )

    def call(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        own = {"NOUBA_HOME": str(tmp_path / "home"), "NOUBA_LOCAL_PROCFILE": str(tmp_path / "Procfile")}
        return subprocess.run(
            [sys.executable, "-m", "local", *arguments],
            env={**os.environ, **own, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    yield call
    call("down")
    # its data may be outside the home, where root's other account reaches them
    Postgres(tmp_path / "home" / "postgres").destroy()


def test_up_starts_everything_twice_changes_nothing_and_down_leaves_nothing(local: Local, tmp_path: Path) -> None:
    # When, with a setting of the caller's own and no terminal
    up = local("up", NOUBA_PSP_STRIPE_SECRETS="whsec_mine, whsec_older")

    # Then the addresses are printed and the gateway answers
    assert up.returncode == 0, up.stderr
    settings = _as_a_shell_reads(local("env").stdout)
    assert settings["GATEWAY_URL"] in up.stdout
    gateway, metrics_port = httpx.get(settings["GATEWAY_URL"]).text.split()
    assert settings["GATEWAY_METRICS_URL"] == f"http://127.0.0.1:{metrics_port}/metrics"
    assert settings["PAYMENTS_WORKER_METRICS_URL"] != settings["GATEWAY_METRICS_URL"]

    # And what the caller set wins, while the rest has the form its provider gives out
    assert settings["NOUBA_PSP_STRIPE_SECRETS"] == "whsec_mine, whsec_older"
    assert settings["NOUBA_PSP_CHARGILY_SECRETS"].startswith("test_sk_")

    # And no password is on the screen
    assert settings["NOUBA_RABBITMQ_URL"].split(":")[2].split("@")[0] not in up.stdout

    # When started again
    again = local("up")

    # Then nothing is
    assert "Everything was up already" in again.stderr
    assert httpx.get(settings["GATEWAY_URL"]).text.split()[0] == gateway
    assert local("status").returncode == 0

    # When stopped, twice
    assert local("down").returncode == 0
    assert local("down").returncode == 0

    # Then nothing runs, and there are no settings to print
    assert _processes_below(tmp_path) == []
    assert not psutil.pid_exists(int(gateway))
    nothing = local("env")
    assert nothing.returncode == 1
    assert "make up" in nothing.stderr
    assert local("status").returncode == 1


def test_a_process_that_falls_comes_back_and_a_killed_supervisor_leaves_nothing_after_down(
    local: Local, tmp_path: Path, database_url: str, rabbitmq_url: str
) -> None:
    # Given a stack on servers that somebody else started
    given = {"NOUBA_DATABASE_URL": database_url, "NOUBA_RABBITMQ_URL": rabbitmq_url}
    assert local("up", **given).returncode == 0
    settings = _as_a_shell_reads(local("env").stdout)
    assert settings["NOUBA_DATABASE_URL"] == database_url
    first = httpx.get(settings["GATEWAY_URL"]).text

    # When the gateway is killed after it has stood for a while
    process = psutil.Process(int(first.split()[0]))
    wait_until(lambda: time.time() - process.create_time() > 11)
    process.kill()

    # Then it comes back on its address
    second = wait_until(lambda: _answer(settings["GATEWAY_URL"]), message="the gateway did not come back")
    assert second != first

    # When the supervisor itself is killed, and then everything stopped
    supervisor = psutil.Process(int((tmp_path / "home" / "processes" / "pid").read_text().split()[0]))
    supervisor.kill()
    assert local("down", **given).returncode == 0

    # Then nothing of ours runs, and the servers of the others do
    assert _processes_below(tmp_path) == []
    psycopg2.connect(database_url).close()


def test_a_process_that_never_stands_is_reported_with_its_last_words(
    local: Local, tmp_path: Path, database_url: str, rabbitmq_url: str
) -> None:
    # Given a gateway that refuses to start
    (tmp_path / "gateway.py").write_text("raise SystemExit('NOUBA_SOMETHING is missing')")

    # When
    up = local("up", NOUBA_DATABASE_URL=database_url, NOUBA_RABBITMQ_URL=rabbitmq_url)

    # Then the reason is on the screen, without a traceback, and nothing is left running
    assert up.returncode == 1
    assert "NOUBA_SOMETHING is missing" in up.stderr
    assert "Traceback" not in up.stderr
    assert _processes_below(tmp_path) == []


@pytest.mark.slow
def test_a_port_that_another_stack_took_in_between_is_chosen_again(
    local: Local, tmp_path: Path, database_url: str, rabbitmq_url: str
) -> None:
    # Given another stack's gateway, which answers where ours was going to, from the moment its port was chosen
    (tmp_path / "gateway.py").write_text(
        f"""
import os, pathlib, socket, subprocess, sys
took = pathlib.Path({str(tmp_path)!r}, "took")
if not took.exists():
    took.write_text(os.environ["NOUBA_GATEWAY_PORT"])
    subprocess.Popen([sys.executable, {str(tmp_path / "other.py")!r}],
                     env={{"NOUBA_GATEWAY_PORT": os.environ["NOUBA_GATEWAY_PORT"], "NOUBA_METRICS_PORT": "0",
                          "NOUBA_INSTANCE": "another", "{MARK}": "elsewhere"}}, start_new_session=True,
                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while socket.socket().connect_ex(("127.0.0.1", int(os.environ["NOUBA_GATEWAY_PORT"]))):
        pass
{_GATEWAY}"""
    )
    (tmp_path / "other.py").write_text(_GATEWAY)
    try:
        # When
        up = local("up", NOUBA_DATABASE_URL=database_url, NOUBA_RABBITMQ_URL=rabbitmq_url)

        # Then our own gateway is named, on another port
        taken = (tmp_path / "took").read_text()
        assert up.returncode == 0, up.stderr
        assert f"taken port {taken}: choosing again" in up.stderr
        settings = _as_a_shell_reads(local("env").stdout)
        answer = httpx.get(settings["GATEWAY_URL"])
        assert answer.headers["Nouba-Instance"] == settings["NOUBA_INSTANCE"]
        assert settings["NOUBA_GATEWAY_PORT"] != taken
        assert httpx.get(f"http://127.0.0.1:{taken}/").headers["Nouba-Instance"] == "another"
    finally:
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if str(tmp_path / "other.py") in process.cmdline():
                    process.kill()


@pytest.mark.slow
def test_settings_of_another_stack_in_the_environment_are_reported(
    local: Local, database_url: str, rabbitmq_url: str
) -> None:
    up = local(
        "up",
        NOUBA_DATABASE_URL=database_url,
        NOUBA_RABBITMQ_URL=rabbitmq_url,
        NOUBA_INSTANCE="another",
        NOUBA_CURRENCY="DZD",
    )

    assert up.returncode == 0, up.stderr
    place = database_url.rpartition("@")[2].partition("/")[0]
    assert f"NOUBA_DATABASE_URL is set: PostgreSQL at {place} is used, and none is started here." in up.stderr
    assert "holds the settings of a running stack" in up.stderr
    assert "used: NOUBA_CURRENCY" in up.stderr
    assert _as_a_shell_reads(local("env").stdout)["NOUBA_INSTANCE"] != "another"


def _as_a_shell_reads(lines: str) -> dict[str, str]:
    """The settings after a real shell has evaluated `lines`."""
    script = f"set -a\n{lines}\nexec env -0"
    output = subprocess.run(["sh", "-c", script], env={}, capture_output=True, text=True, check=True).stdout
    return dict(entry.split("=", 1) for entry in output.split("\0") if entry)


def _answer(url: str) -> str | None:
    try:
        return httpx.get(url).text
    except httpx.TransportError:
        return None


def _processes_below(folder: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK, "").startswith(str(folder)):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found
