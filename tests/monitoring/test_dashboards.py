"""Dashboards: the generator's output, and the rules of Grafana's own linter, which is no program of Python."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from deploy.grafana.boards import BOARDS
from deploy.grafana.build import FOLDER, render
from tests.monitoring.queries import DASHBOARDS, asked, dashboards, panels, parse, selectors, without_variables

pytestmark = pytest.mark.lint

BOARDS_IN_TREE = dashboards()
UNITS = {"bytes", "Bps", "dateTimeFromNow", "ops", "percentunit", "reqps", "s", "short"}
SHOWN = {"bargauge", "heatmap", "stat", "table", "timeseries"}
LABEL_VALUES = re.compile(r"label_values\((?P<selector>.+), \w+\)")
every_dashboard = pytest.mark.parametrize("dashboard", BOARDS_IN_TREE, ids=lambda one: one["uid"])


def targets(dashboard: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for panel in panels(dashboard):
        yield from ((panel["title"], target["expr"]) for target in panel.get("targets", []))


def variables(dashboard: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in dashboard["templating"]["list"]}


def test_the_files_are_what_the_generator_writes() -> None:
    assert {path.stem for path in DASHBOARDS} == {board.uid for board in BOARDS}
    for board in BOARDS:
        fresh = (FOLDER / f"{board.uid}.json").read_text() == render(board)
        assert fresh, "run `python -m deploy.grafana.build`"


def test_there_are_as_many_as_were_enqueued() -> None:
    assert len(BOARDS_IN_TREE) >= 6
    assert sum(len(panels(dashboard)) for dashboard in BOARDS_IN_TREE) >= 60


@every_dashboard
def test_template_datasource_rule(dashboard: dict[str, Any]) -> None:
    found = variables(dashboard)["datasource"]

    assert (found["type"], found["query"], found["label"]) == ("datasource", "prometheus", "Data source")


@every_dashboard
@pytest.mark.parametrize("name", ["job", "instance"])
def test_template_job_rule_and_template_instance_rule(dashboard: dict[str, Any], name: str) -> None:
    found = variables(dashboard)[name]

    assert found["type"] == "query"
    assert found["datasource"]["uid"] == "${datasource}"
    assert found["label"] == name.title()
    assert found["multi"]
    assert found["allValue"] == ".+"


@every_dashboard
def test_template_label_promql_rule(dashboard: dict[str, Any]) -> None:
    for variable in variables(dashboard).values():
        if variable["type"] == "query":
            match = LABEL_VALUES.fullmatch(variable["query"]["query"])
            assert match, variable["name"]
            assert parse(match["selector"]) is not None


@every_dashboard
def test_template_on_time_change_reload_rule(dashboard: dict[str, Any]) -> None:
    on_time_change = 2

    assert all(one["refresh"] == on_time_change for one in variables(dashboard).values() if one["type"] == "query")


@every_dashboard
def test_panel_datasource_rule(dashboard: dict[str, Any]) -> None:
    for panel in panels(dashboard):
        if panel["type"] in SHOWN:
            sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
            assert sources == [{"type": "prometheus", "uid": "${datasource}"}] * len(sources), panel["title"]


@every_dashboard
def test_panel_title_description_rule(dashboard: dict[str, Any]) -> None:
    titles = [panel["title"] for panel in panels(dashboard)]

    assert all(titles)
    assert len(set(titles)) == len(titles)
    assert all(panel["description"].endswith(".") for panel in panels(dashboard))


@every_dashboard
def test_panel_units_rule(dashboard: dict[str, Any]) -> None:
    for panel in panels(dashboard):
        if panel["type"] in SHOWN:
            assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]


@every_dashboard
def test_panel_no_targets_rule(dashboard: dict[str, Any]) -> None:
    assert all(panel["targets"] for panel in panels(dashboard) if panel["type"] in SHOWN)
    assert {panel["type"] for panel in panels(dashboard)} <= SHOWN | {"alertlist"}


@every_dashboard
def test_target_promql_rule(dashboard: dict[str, Any]) -> None:
    for query in asked(dashboard):
        assert parse(query) is not None
        assert "$" not in without_variables(query), f"an unknown variable in {query}"


@every_dashboard
def test_target_rate_interval_rule(dashboard: dict[str, Any]) -> None:
    for title, query in targets(dashboard):
        assert set(re.findall(r"[})\w]\[([^\]]+)\]", query)) <= {"$__rate_interval", "$__range"}, title
        # a rate is a picture of the moment
        assert not re.search(r"rate\([^\[]*\[\$__range\]", query), title


@every_dashboard
def test_target_job_rule_and_target_instance_rule(dashboard: dict[str, Any]) -> None:
    for title, query in targets(dashboard):
        for selector in selectors(parse(query)):
            # what a rule has recorded is of all containers together, and so is an alert
            if ":" not in selector.name and selector.name != "ALERTS":
                assert {"job", "instance"} <= set(selector.labels), f"{title}: {selector.name}"


@every_dashboard
def test_target_counter_agg_rule(dashboard: dict[str, Any]) -> None:
    for title, query in targets(dashboard):
        for selector in selectors(parse(query)):
            if selector.name.endswith(("_total", "_bucket", "_count", "_sum")):
                assert {"rate", "increase"} & set(selector.within), f"{title}: {selector.name}"


@every_dashboard
def test_uneditable_dashboard_rule(dashboard: dict[str, Any]) -> None:
    assert dashboard["editable"] is False


@every_dashboard
def test_target_logql_rule(dashboard: dict[str, Any]) -> None:
    # there is no Loki here: every source is Prometheus
    assert {one["datasource"]["type"] for one in dashboard["annotations"]["list"]} == {"prometheus"}


@every_dashboard
def test_a_dashboard_links_to_the_others_and_marks_what_was_deployed(dashboard: dict[str, Any]) -> None:
    link, annotation = dashboard["links"][0], dashboard["annotations"]["list"][0]

    assert (link["type"], link["tags"]) == ("dashboards", dashboard["tags"])
    assert "nouba_build_info" in annotation["expr"]


@every_dashboard
def test_panels_stand_side_by_side_and_none_upon_another(dashboard: dict[str, Any]) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {(x + place["x"], y + place["y"]) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
