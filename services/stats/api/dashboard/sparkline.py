"""Sparklines of the last days, as SVG paths."""

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 120, 28
_MARGIN = 3


@dataclass(frozen=True, slots=True)
class Sparkline:
    """The line, the surface below it, and the last point."""

    line: str
    surface: str
    end: tuple[float, float]
    low: int
    high: int


def sparkline(values: Sequence[int | None]) -> Sparkline | None:
    """A line through the values that are known; it breaks off where one is not. None where there are fewer than two."""
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return None
    low, high = min(known), max(known)
    step = (WIDTH - 2 * _MARGIN) / (len(values) - 1)
    points = [
        None if value is None else (_MARGIN + step * place, _height(value, low, high))
        for place, value in enumerate(values)
    ]
    runs: list[list[tuple[float, float]]] = [[]]
    for point in points:
        if point is None:
            runs.append([])
        else:
            runs[-1].append(point)
    runs = [run for run in runs if run]
    line = "".join(_path(run) for run in runs)
    surface = "".join(f"{_path(run)}V{HEIGHT}H{_short(run[0][0])}Z" for run in runs)
    return Sparkline(line, surface, runs[-1][-1], low, high)


def _height(value: int, low: int, high: int) -> float:
    """Where a value stands; a line that does not move lies in the middle."""
    share = (value - low) / (high - low) if high > low else 0.5
    return HEIGHT - _MARGIN - share * (HEIGHT - 2 * _MARGIN)


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{_short(x)} {_short(y)}" for x, y in points)


def _short(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")
