"""Prometheus' rules: promtool finds nothing, every alert is proven to fire and to stay quiet, and has its page."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from local.installers.promtool_and_alertmanager import find_promtool
from tests.monitoring.exported import ROOT
from tests.monitoring.queries import DASHBOARDS, PROMETHEUS, RULES, alerts, asked, dashboards, parse, rules, selectors

TESTS = sorted((PROMETHEUS / "tests").glob("*.yml"))
ALERTS = alerts()
SEVERITIES = {"page", "ticket", "none"}
#: It fires for ever, so there is no test in which it is quiet.
ALWAYS = "Watchdog"


def promtool(*arguments: str | Path) -> None:
    result = subprocess.run([find_promtool(), *arguments], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def test_promtool_takes_the_configuration() -> None:
    promtool("check", "config", PROMETHEUS / "prometheus.yml")


def test_promtool_finds_no_fault_in_the_rules() -> None:
    promtool("check", "rules", "--lint=all", "--lint-fatal", *RULES)


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_alerts_fire_and_stay_quiet_as_their_tests_say(path: Path) -> None:
    promtool("test", "rules", path)


@pytest.mark.lint
def test_there_are_alerts_for_everything_that_was_enqueued() -> None:
    assert len(ALERTS) >= 20
    assert len({alert["alert"] for alert in ALERTS}) == len(ALERTS)


@pytest.mark.lint
@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.get("alert") or rule["record"])
def test_an_expression_is_promql_of_the_second_parser_too(rule: dict[str, Any]) -> None:
    assert parse(rule["expr"]) is not None


@pytest.mark.lint
@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_says_how_bad_it_is_and_where_to_read_on(alert: dict[str, Any]) -> None:
    name, notes = alert["alert"], alert["annotations"]

    assert re.fullmatch(r"([A-Z][a-z]+)+", name)
    assert alert["labels"]["severity"] in SEVERITIES
    assert notes["summary"]
    assert notes["description"].endswith(".")
    assert notes["runbook_url"] == f"docs/runbooks/{name}.md"
    assert (ROOT / notes["runbook_url"]).exists()


@pytest.mark.lint
@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_is_tested_once_to_fire_and_once_to_stay_quiet(alert: dict[str, Any]) -> None:
    name = alert["alert"]
    outcomes = {
        bool(case["exp_samples"])
        for path in TESTS
        for test in yaml.safe_load(path.read_text())["tests"]
        for case in test["promql_expr_test"]
        if f'alertname="{name}"' in case["expr"]
    }

    assert outcomes == ({True} if name == ALWAYS else {True, False})


@pytest.mark.lint
def test_every_recorded_series_is_used() -> None:
    asked_for = {selector.name for rule in rules() for selector in selectors(parse(rule["expr"]))}
    asked_for |= {
        selector.name
        for dashboard in dashboards()
        for query in asked(dashboard)
        for selector in selectors(parse(query))
    }
    recorded = {rule["record"] for rule in rules() if "record" in rule}

    assert DASHBOARDS
    assert recorded - asked_for == set()
    assert {name for name in asked_for if ":" in name} - recorded == set()
