"""The expressions of the rules and dashboards, taken apart."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import promql_parser as promql
import yaml

from tests.monitoring.exported import ROOT

PROMETHEUS = ROOT / "deploy" / "prometheus"
DASHBOARDS = sorted((ROOT / "deploy" / "grafana" / "dashboards").glob("*.json"))
RULES = sorted((PROMETHEUS / "rules").glob("*.yml"))
#: What Grafana puts in before it asks.
_VARIABLES = {"$__rate_interval": "1m", "$__range": "1h", "$__interval": "15s"}

Expression = Any


def rules() -> list[dict[str, Any]]:
    """Every rule, recording or alerting."""
    files = [yaml.safe_load(path.read_text()) for path in RULES]
    return [rule for file in files for group in file["groups"] for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    """Every alerting rule."""
    return [rule for rule in rules() if "alert" in rule]


def dashboards() -> list[dict[str, Any]]:
    """Every dashboard that is in the tree."""
    return [json.loads(path.read_text()) for path in DASHBOARDS]


def panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    """The panels that show something."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def asked(dashboard: dict[str, Any]) -> Iterator[str]:
    """Every query of a dashboard: of its panels and its annotations."""
    for panel in panels(dashboard):
        yield from (target["expr"] for target in panel.get("targets", []))
    yield from (annotation["expr"] for annotation in dashboard["annotations"]["list"])


def parse(expression: str) -> Expression:
    """The expression as a tree; raises ValueError where it is none."""
    return promql.parse(without_variables(expression))


def without_variables(expression: str) -> str:
    """The query as Grafana sends it, with everything chosen."""
    for name, value in _VARIABLES.items():
        expression = expression.replace(name, value)
    for name in ("job", "instance", "queue", "actor", "provider", "route"):
        expression = expression.replace(f'"${name}"', '".+"')
    return expression


@dataclass(frozen=True, slots=True)
class Selector:
    """`name{labels}` in an expression, and the functions around it from the outside in."""

    name: str
    labels: dict[str, str]
    within: tuple[str, ...]


def selectors(node: Expression, within: tuple[str, ...] = ()) -> Iterator[Selector]:
    """All selectors below `node`."""
    match node:
        case promql.VectorSelector():
            yield Selector(node.name or "", {one.name: one.value for one in node.matchers.matchers}, within)
        case promql.MatrixSelector():
            yield from selectors(node.vector_selector, within)
        case promql.Call():
            for argument in node.args:
                yield from selectors(argument, (*within, node.func.name))
        case promql.BinaryExpr():
            yield from selectors(node.lhs, within)
            yield from selectors(node.rhs, within)
        case promql.AggregateExpr() | promql.ParenExpr() | promql.UnaryExpr() | promql.SubqueryExpr():
            yield from selectors(node.expr, within)
        case promql.NumberLiteral() | promql.StringLiteral():
            return
        case _:
            raise TypeError(f"{type(node).__name__} is not known here")
