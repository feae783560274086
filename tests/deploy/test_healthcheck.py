"""The check that each container runs every few seconds: it says what is wrong, and starts nothing but Python itself."""

import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "deploy/healthcheck.py"


@contextmanager
def serving(metrics: str) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(metrics.encode())

        def log_message(self, *_arguments: object) -> None: ...

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/metrics"
        server.shutdown()


@pytest.mark.parametrize(
    ("age_seconds", "expected", "fault"),
    [
        (1, [], ""),
        (61, [], "a message has waited for RabbitMQ for 61 s"),
        (1, ["1:1"], "0 of 1 connections to port 1 are open"),
    ],
)
def test_it_says_what_is_wrong_without_any_package(age_seconds: int, expected: list[str], fault: str) -> None:
    with serving(f"nouba_outbox_oldest_age_seconds {age_seconds}\n") as address:
        # -I and -S: neither the environment nor installed packages, whose imports would cost a busy machine seconds
        command = [sys.executable, "-I", "-S", str(PROGRAM), address, *expected]
        result = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (result.returncode, result.stderr.strip()) == (1 if fault else 0, fault)
