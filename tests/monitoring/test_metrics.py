"""What the code counts and what is asked for are the same, name for name and label for label."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.monitoring.exported import Metric, exported, series_of
from tests.monitoring.queries import PROMETHEUS, Selector, asked, dashboards, parse, rules, selectors

METRICS = exported()
SERIES = series_of(METRICS)
#: Prometheus adds them to every series.
ADDED = {"job", "instance", "le"}
_GAUGES = """
import {server}
from prometheus_client import REGISTRY, Gauge
for collector in REGISTRY._collector_to_names:
    if isinstance(collector, Gauge):
        print(f"{{collector._name}}={{collector._multiprocess_mode}}")
"""


def all_selectors() -> list[Selector]:
    queries = [rule["expr"] for rule in rules()]
    queries += [query for dashboard in dashboards() for query in asked(dashboard)]
    return [selector for query in queries for selector in selectors(parse(query))]


@pytest.mark.lint
def test_every_metric_that_is_asked_for_is_exported() -> None:
    asked_for = {selector.name for selector in all_selectors() if selector.name.startswith("nouba_")}

    assert asked_for - set(SERIES) == set()


@pytest.mark.lint
def test_every_label_that_is_asked_for_is_exported() -> None:
    for selector in all_selectors():
        if selector.name in SERIES:
            unknown = set(selector.labels) - ADDED - set(SERIES[selector.name].labels)
            assert not unknown, f"{selector.name} has no label {unknown}"


@pytest.mark.lint
def test_every_metric_is_shown_or_listed_as_unused_on_purpose() -> None:
    shown = {SERIES[selector.name].name for selector in all_selectors() if selector.name in SERIES}
    lines = (PROMETHEUS / "unused.txt").read_text().splitlines()
    listed = {line.split()[0] for line in lines if line and not line.startswith("#")}

    assert set(METRICS) - shown - listed == set(), "show it on a dashboard, or list it with the reason"
    assert listed & shown == set(), "it is shown: take it off the list"
    assert listed - set(METRICS) == set(), "there is no such metric any more"


@pytest.mark.lint
@pytest.mark.parametrize("metric", METRICS.values(), ids=lambda metric: metric.name)
def test_a_metric_has_our_prefix_and_a_base_unit(metric: Metric) -> None:
    assert re.fullmatch(r"nouba_[a-z_]+", metric.name)
    assert not metric.name.endswith(("_ms", "_milliseconds", "_kb", "_mb", "_minutes", "_hours"))
    assert metric.name.endswith("_total") == (metric.kind == "Counter")


@pytest.mark.parametrize("server", ["services.webhook_gateway.server", "services.stats.api.server"])
def test_a_gauge_that_several_processes_report_says_how_they_are_put_together(server: str, tmp_path: Path) -> None:
    # without a mode each process' value appears by itself, with its id as a label, and for ever
    reported = subprocess.run(
        [sys.executable, "-c", _GAUGES.format(server=server)],
        env={"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)},
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()

    assert reported, "the program finds no gauge at all"
    assert [line for line in reported if line.endswith("=all")] == []


def test_a_server_can_still_say_how_its_processes_add_up_when_its_command_runs() -> None:
    # prometheus_client decides at its first import: one that comes sooner leaves the metrics of both servers empty
    program = "import sys, shared.cli, services.stats.api.cli; print('prometheus_client' in sys.modules)"
    reported = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)

    assert reported.stdout == "False\n"


@pytest.mark.lint
def test_jobs_are_timed_to_hours() -> None:
    from shared.runtime import metrics

    for histogram in (metrics.MESSAGE_SECONDS, metrics.QUEUE_SECONDS):
        # the last but the infinite one
        assert histogram._upper_bounds[-2] >= 2 * 3600
