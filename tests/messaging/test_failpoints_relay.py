"""A relay that is killed, fails or is slow at any of its steps loses no message."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.failpoint_places import ACTIONS, KILL, RELAY, every
from tests.messaging.rabbitmq import VirtualHost
from tests.messaging.test_relay import arrived, enqueue_many, waiting
from tests.waiting import wait_until


@contextmanager
def relay(
    database_url: str, vhost: VirtualHost, log: Path, failpoints: str = ""
) -> "Iterator[subprocess.Popen[bytes]]":
    """The program `relay`; a file takes what it says, since a pipe that nobody reads would stop it."""
    command = [sys.executable, "-m", "tests.messaging.programs.relay", database_url, vhost.url]
    environment = {**os.environ, "NOUBA_FAILPOINTS": failpoints}
    with log.open("ab") as output:
        process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=output, stderr=output)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(("place", "action"), every(RELAY, *ACTIONS))
def test_a_relay_that_is_broken_there_loses_nothing(
    place: str, action: str, engine: Engine, database_url: str, vhost: VirtualHost, tmp_path: Path
) -> None:
    enqueue_many(engine, 20)
    log = tmp_path / "relay.log"

    with relay(database_url, vhost, log, f"{place}={action}") as broken:
        if action == KILL:
            assert broken.wait(20) == -signal.SIGKILL
        else:
            wait_until(lambda: waiting(engine) == 0, message=log.read_text()[-2000:])
    with relay(database_url, vhost, log):
        wait_until(lambda: waiting(engine) == 0)

    assert f"failpoint {place}: " in log.read_text()
    assert set(arrived(vhost)) == set(range(20))
