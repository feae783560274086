"""A watcher that is killed, fails or is slow while it seals rows leaves the chain whole."""

import os
import signal
import subprocess
import sys

import pytest

from shared.runtime.database import build_engine
from tests.failpoint_places import ACTIONS, KILL, every
from tests.webhook_gateway.integrity.test_hash_chain import add_event, faults, seal
from tests.webhook_gateway.processes import Database

PLACES = ("sealer.before_commit",)
SEAL = """
import sys
from services.webhook_gateway.integrity.hash_chain import HashChainWriter
from shared.runtime.database import build_engine
from shared.runtime.failpoints import FailpointError

for _ in range(2):
    with build_engine(sys.argv[1]).connect() as connection:
        try:
            HashChainWriter(connection).seal()
        except FailpointError:
            pass
"""


@pytest.mark.parametrize(("place", "action"), every(PLACES, *ACTIONS))
def test_a_watcher_that_is_broken_there_leaves_the_chain_whole(place: str, action: str, database_url: str) -> None:
    database, engine = Database(database_url), build_engine(database_url)
    add_event(database, "one")
    add_event(database, "two")

    environment = {**os.environ, "NOUBA_FAILPOINTS": f"{place}={action}"}
    command = [sys.executable, "-c", SEAL, database_url]
    broken = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert f"failpoint {place}: " in broken.stderr
    assert broken.returncode == (-signal.SIGKILL if action == KILL else 0), broken.stderr
    seal(engine)

    assert faults(engine) == []
    engine.dispose()
