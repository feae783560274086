"""Processes that share a port are counted together, and those of the last start not at all."""

import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.metrics import MetricWrapperBase

from shared.runtime import metrics
from shared.runtime.multiprocess_metrics import add_up_metrics_in

COUNT_ONE = """
from shared.runtime import metrics
metrics.RELAY_PUBLISHED.labels("gateway").inc()
metrics.RELAY_BACKLOG.labels("gateway").set(3)
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
    assert 'nouba_relay_backlog_messages{service="gateway"} 3.0' in shown


def test_every_name_begins_with_nouba_and_no_unit_is_below_the_base_unit() -> None:
    ours = [collector for collector in vars(metrics).values() if isinstance(collector, MetricWrapperBase)]
    names = [family.name for collector in ours for family in collector.describe()]
    assert len(names) >= 9
    assert all(name.startswith("nouba_") for name in names)
    assert not [name for name in names if name.endswith(("_ms", "_milliseconds", "_kb"))]
