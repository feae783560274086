"""Processes that share a port are counted together, and those of the last start not at all."""

import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.metrics import MetricWrapperBase

from shared.runtime import metrics
from shared.runtime.prometheus_multiproc_dir import add_up_metrics_in

COUNT_ONE = """
from shared.runtime import metrics
metrics.RELAY_PUBLISHED.labels("gateway").inc()
metrics.OUTBOX_PENDING.labels("gateway").set(3)
"""
SHOW = """
from prometheus_client import generate_latest
from shared.runtime import metrics
print(generate_latest(metrics.registry()).decode())
"""


def python(program: str, directory: Path) -> str:
    return subprocess.run(
        [sys.executable, "-c", program],
        env={"PROMETHEUS_MULTIPROC_DIR": str(directory)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_the_directory_is_emptied_before_the_start_and_adds_up_all_processes_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "")
    directory = tmp_path / "metrics"
    add_up_metrics_in(directory)
    python(COUNT_ONE, directory)
    add_up_metrics_in(directory)
    for _ in range(2):
        python(COUNT_ONE, directory)
    shown = python(SHOW, directory)
    assert 'nouba_relay_published_total{service="gateway"} 2.0' in shown
    assert 'nouba_outbox_pending_messages{service="gateway"} 3.0' in shown


def test_an_ended_process_leaves_its_counts_and_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a server that replaces its process again and again
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "")
    add_up_metrics_in(tmp_path)
    for number in range(3):
        python(COUNT_ONE, tmp_path)
        (counter,) = (file for file in tmp_path.glob("counter_*.db") if file.stem != "counter_ended")

        # When one has ended
        metrics.retire_process(int(counter.stem.partition("_")[2]))

        # Then the counts go on, and the files do not
        assert {file.stem.rpartition("_")[2] for file in tmp_path.glob("*.db")} == {"ended"}
        assert f'nouba_relay_published_total{{service="gateway"}} {number + 1}.0' in python(SHOW, tmp_path)
        for file in tmp_path.glob("*.db"):
            if not file.stem.endswith("_ended"):
                file.unlink()


def test_every_name_begins_with_nouba_and_no_unit_is_below_the_base_unit() -> None:
    ours = [collector for collector in vars(metrics).values() if isinstance(collector, MetricWrapperBase)]
    names = [family.name for collector in ours for family in collector.describe()]
    assert len(names) >= 9
    assert all(name.startswith("nouba_") for name in names)
    assert not [name for name in names if name.endswith(("_ms", "_milliseconds", "_kb"))]
