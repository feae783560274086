"""What a dashboard is made of: panels in rows, and the JSON that Grafana reads."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
#: In a query this stands for the choice of jobs and containers above the dashboard.
SCOPE = 'job=~"$job", instance=~"$instance"'
COLUMNS = 24


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture. `queries` are pairs of an expression and a legend.

    `quiet`: there is nothing to see while all is well, so a test may find it empty.
    """

    title: str
    description: str
    unit: str
    queries: Sequence[tuple[str, str]]
    kind: str = "timeseries"
    width: int = 8
    height: int = 7
    quiet: bool = False
    #: From these values on it is orange, and red.
    limits: tuple[float, float] | None = None
    #: Less is worse: red below the first limit, orange below the second.
    rising: bool = False
    stacked: bool = False
    words: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Alerts:
    """The list of firing alerts, from Prometheus."""

    title: str
    description: str
    width: int = 8
    height: int = 7


@dataclass(frozen=True, slots=True)
class Choice:
    """A variable that a reader picks values of; `regex` leaves out some."""

    name: str
    label: str
    query: str
    regex: str = ""


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard. `jobs` says whose containers can be chosen, as a regular expression."""

    uid: str
    title: str
    description: str
    jobs: str
    rows: Sequence[tuple[str, Sequence[Panel | Alerts]]]
    choices: Sequence[Choice] = ()

    def panels(self) -> Iterator[Panel]:
        """Those that ask Prometheus."""
        for _, panels in self.rows:
            yield from (panel for panel in panels if isinstance(panel, Panel))


def scoped(expression: str) -> str:
    """The query as Grafana gets it."""
    return expression.replace("SCOPE", SCOPE)


def panel_json(panel: Panel | Alerts, number: int, position: dict[str, int]) -> dict[str, Any]:
    """The panel as Grafana reads it."""
    head = {"id": number, "title": panel.title, "description": panel.description, "gridPos": position}
    if isinstance(panel, Alerts):
        options = {
            "alertInstanceLabelFilter": "",
            "datasource": "${datasource}",
            "groupMode": "default",
            "maxItems": 30,
            "sortOrder": 3,
            "stateFilter": {"firing": True, "pending": True, "error": True, "noData": False, "normal": False},
            "viewMode": "list",
        }
        return head | {"type": "alertlist", "options": options}
    targets = [
        {
            "refId": chr(ord("A") + index),
            "datasource": DATASOURCE,
            "expr": scoped(expression),
            "legendFormat": legend,
            **_query_form(panel.kind),
        }
        for index, (expression, legend) in enumerate(panel.queries)
    ]
    return head | {
        "type": panel.kind,
        "datasource": DATASOURCE,
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _options(panel.kind),
        "targets": targets,
    }


def _query_form(kind: str) -> dict[str, Any]:
    if kind == "heatmap":
        return {"format": "heatmap"}
    if kind in ("table", "stat", "bargauge"):
        return {"instant": True, "range": False, "format": "table" if kind == "table" else "time_series"}
    return {}


def _defaults(panel: Panel) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": panel.unit, "color": {"mode": "palette-classic"}}
    if panel.limits:
        low, high = panel.limits
        colours = ("red", "orange", "green") if panel.rising else ("green", "orange", "red")
        steps = [{"color": colour, "value": value} for colour, value in zip(colours, (None, low, high), strict=True)]
        defaults["thresholds"] = {"mode": "absolute", "steps": steps}
    if panel.kind in ("stat", "bargauge"):
        mode = "thresholds" if panel.limits else "fixed"
        defaults["color"] = {"mode": mode} if panel.limits else {"mode": mode, "fixedColor": "blue"}
    if panel.words:
        options = {value: {"text": word} for value, word in panel.words.items()}
        defaults["mappings"] = [{"type": "value", "options": options}]
    if panel.kind == "timeseries":
        defaults["min"] = 0
        defaults["custom"] = {
            "fillOpacity": 30 if panel.stacked else 10,
            "lineWidth": 1,
            "showPoints": "never",
            "spanNulls": 60_000,
            "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
            **({"thresholdsStyle": {"mode": "line"}} if panel.limits else {}),
        }
    return defaults


def _options(kind: str) -> dict[str, Any]:
    calculated = {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}}
    by_kind: dict[str, dict[str, Any]] = {
        "timeseries": {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        "stat": {**calculated, "colorMode": "background", "graphMode": "none", "textMode": "auto"},
        "bargauge": {**calculated, "orientation": "horizontal", "displayMode": "basic"},
        "table": {"showHeader": True},
        "heatmap": {"calculate": False, "yAxis": {"unit": "s"}, "color": {"mode": "scheme", "scheme": "Oranges"}},
    }
    return by_kind[kind]
