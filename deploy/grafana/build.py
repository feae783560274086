"""Writes the dashboards as JSON for Grafana: `python -m deploy.grafana.build`, after a change in `boards`."""

import json
from pathlib import Path
from typing import Any

from deploy.grafana.boards import BOARDS
from deploy.grafana.panels import COLUMNS, DATASOURCE, Alerts, Board, Choice, Panel, panel_json, scoped

FOLDER = Path(__file__).parent / "dashboards"
TAG = "nouba"
#: A new version, or any start, is a line across all panels.
_STARTS = (
    "1000 * max by (job, version) "
    "(nouba_start_timestamp_seconds{SCOPE} * on (job, instance) group_left (version) nouba_build_info{SCOPE})"
)


def main() -> None:
    """Write every dashboard, and remove what is none of them."""
    wanted = {f"{board.uid}.json": render(board) for board in BOARDS}
    for path in FOLDER.glob("*.json"):
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (FOLDER / name).write_text(text)


def render(board: Board) -> str:
    """The file of one dashboard."""
    return json.dumps(board_json(board), indent=1, ensure_ascii=False) + "\n"


def board_json(board: Board) -> dict[str, Any]:
    """The dashboard as Grafana reads it."""
    return {
        "uid": board.uid,
        "title": board.title,
        "description": board.description,
        "tags": [TAG],
        "schemaVersion": 41,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": [_annotation()]},
        "links": [_link()],
        "templating": {"list": [_data_source(), *map(_variable, _choices(board))]},
        "panels": _panels(board),
    }


def _panels(board: Board) -> list[dict[str, Any]]:
    panels: list[dict[str, Any]] = []
    top = 0
    for title, row in board.rows:
        position = {"h": 1, "w": COLUMNS, "x": 0, "y": top}
        panels.append({"id": len(panels) + 1, "type": "row", "title": title, "collapsed": False, "gridPos": position})
        top, left, tallest = top + 1, 0, 0
        for panel in row:
            if left + panel.width > COLUMNS:
                top, left, tallest = top + tallest, 0, 0
            panels.append(_placed(panel, len(panels) + 1, left, top))
            left, tallest = left + panel.width, max(tallest, panel.height)
        top += tallest
    return panels


def _placed(panel: Panel | Alerts, number: int, left: int, top: int) -> dict[str, Any]:
    return panel_json(panel, number, {"h": panel.height, "w": panel.width, "x": left, "y": top})


def _annotation() -> dict[str, Any]:
    return {
        "name": "Starts",
        "datasource": DATASOURCE,
        "enable": True,
        "iconColor": "blue",
        "expr": scoped(_STARTS),
        # the value is the moment
        "useValueForTime": "on",
        "step": "60s",
        "titleFormat": "{{job}} started",
        "textFormat": "version {{version}}",
    }


def _link() -> dict[str, Any]:
    shared = {"includeVars": False, "keepTime": True, "targetBlank": False}
    return {"type": "dashboards", "title": "Nouba", "tags": [TAG], "asDropdown": False, **shared}


def _data_source() -> dict[str, Any]:
    chosen = {"text": "Prometheus", "value": "prometheus"}
    return {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
        "current": chosen,
    }


def _choices(board: Board) -> list[Choice]:
    return [
        Choice("job", "Job", f'label_values(up{{job=~"{board.jobs}"}}, job)'),
        Choice("instance", "Instance", 'label_values(up{job=~"$job"}, instance)'),
        *board.choices,
    ]


def _variable(choice: Choice) -> dict[str, Any]:
    return {
        "name": choice.name,
        "label": choice.label,
        "type": "query",
        "datasource": DATASOURCE,
        "definition": choice.query,
        "query": {"query": choice.query, "refId": f"Variable-{choice.name}"},
        "regex": choice.regex,
        # with the time range, too
        "refresh": 2,
        "sort": 1,
        "includeAll": True,
        "multi": True,
        "allValue": ".+",
        "current": {"text": ["All"], "value": ["$__all"]},
    }


if __name__ == "__main__":
    main()
