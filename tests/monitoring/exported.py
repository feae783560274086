"""What the code exports, read from its source, and what Prometheus makes of each kind."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_KINDS = {"Counter", "Gauge", "Histogram"}


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric, as it is made."""

    name: str
    kind: str
    labels: tuple[str, ...]
    path: Path

    @property
    def series(self) -> set[str]:
        """The names under which its values appear."""
        if self.kind == "Histogram":
            return {f"{self.name}_{suffix}" for suffix in ("bucket", "sum", "count")}
        return {self.name}


def exported() -> dict[str, Metric]:
    """Every metric that `shared` and `services` make, by name."""
    found: dict[str, Metric] = {}
    for package in ("shared", "services"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for metric in _made_in(path):
                assert metric.name not in found, f"{metric.name} is made in {path} and in {found[metric.name].path}"
                found[metric.name] = metric
    return found


def series_of(metrics: dict[str, Metric]) -> dict[str, Metric]:
    """Each series with the metric that it belongs to."""
    return {series: metric for metric in metrics.values() for series in metric.series}


def _made_in(path: Path) -> Iterator[Metric]:
    for node in ast.walk(ast.parse(path.read_text())):
        # the Counter of `collections` has one argument at most
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _KINDS and node.args[1:]:
            name = node.args[0]
            is_literal = isinstance(name, ast.Constant) and isinstance(name.value, str)
            assert is_literal, f"{path}: a metric's name is written out, so that it can be found"
            labels = ast.literal_eval(node.args[2]) if len(node.args) > 2 else []
            yield Metric(ast.literal_eval(name), node.func.id, tuple(labels), path)
