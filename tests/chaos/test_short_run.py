"""A short storm over everything: one kill, one pause and one restart of each process, and nothing is lost."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
PROCESSES = {
    "postgresql", "rabbitmq", "s3", "gateway-1", "gateway-2", "payments-worker-1", "payments-worker-2", "events-worker",
    "transcoder", "stats-worker", "stats-scheduler", "stats-api",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nothing_is_lost_or_done_twice_while_everything_is_killed_paused_and_restarted(tmp_path: Path) -> None:
    """The whole command, as a person runs it; its own oracle says what there must be."""
    options = "--seed 3 --events 400 --kills 1 --pauses 1 --restarts 1 --videos 1 --days 3 --seconds 30 --json"

    result = subprocess.run(
        [sys.executable, "-m", "tests.chaos", *options.split(), "--logs", str(tmp_path)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )

    assert result.stdout, result.stderr[-4000:]
    found = json.loads(result.stdout)
    assert found["faults"] == [], f"the logs are in {tmp_path}"
    assert result.returncode == 0
    assert found["blows"] == {name: {"kill": 1, "pause": 1, "restart": 1} for name in PROCESSES}
    assert found["sent"]["events"] >= 400
    assert set(found["sent"]["by_provider"]) == {"chargily", "satim", "cib", "standard_webhooks", "stripe", "generic"}
    assert found["compared"]["events lost"] == found["sent"]["events"]
    assert found["compared"]["videos"] == 1
    assert found["compared"]["events out lost"] == found["events_out"]["received"] > 200
    assert found["events_out"]["outcomes"]["refuse"], "the receiver failed never"
    assert found["compared"]["days of statistics"] == 3
    assert found["answers"].keys() & {"none", "503"}, "the storm blew past the gateway"
