"""Draws how a cost grows, from the points that were measured, as an SVG."""

from collections.abc import Sequence
from pathlib import Path
from statistics import median

from bench.measures import Measure

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 640, 300, 60, 50, 40


def write(path: Path, measure: Measure) -> None:
    """One point for each of `measure`'s samples, whose names begin with a number of what it grows with."""
    points = [(int(who.split()[0].replace(",", "")), median(found)) for who, found in measure.samples.items()]
    path.write_text(_svg(points, f"{measure.name} ({measure.unit})", measure.grows_with), encoding="utf-8")


def _svg(points: Sequence[tuple[int, float]], title: str, below: str) -> str:
    most, highest = max(rows for rows, _ in points), max(rate for _, rate in points)
    floor, digits = _HEIGHT - _BOTTOM, 0 if highest >= 100 else 1

    def place(rows: int, rate: float) -> tuple[float, float]:
        return _LEFT + rows / most * (_WIDTH - 2 * _LEFT), floor - rate / highest * (floor - _TOP)

    placed = [place(*point) for point in points]
    line = " ".join(f"{x:.0f},{y:.0f}" for x, y in placed)
    marks = []
    for (rows, rate), (x, y) in zip(points, placed, strict=True):
        marks.append(f'<circle cx="{x:.0f}" cy="{y:.0f}" r="4" fill="#0a6"/>')
        marks.append(f'<text x="{x:.0f}" y="{y - 10:.0f}" text-anchor="middle">{rate:,.{digits}f}</text>')
        marks.append(f'<text x="{x:.0f}" y="{floor + 18}" text-anchor="middle">{rows:,}</text>')
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif"
     font-size="12" role="img" aria-label="{title}">
<rect width="100%" height="100%" fill="#fff"/>
<text x="{_WIDTH / 2:.0f}" y="18" text-anchor="middle" font-size="14">{title}</text>
<path d="M{_LEFT},{_TOP} V{floor} H{_WIDTH - _LEFT}" fill="none" stroke="#888"/>
<polyline points="{line}" fill="none" stroke="#0a6" stroke-width="2"/>
{chr(10).join(marks)}
<text x="{_WIDTH / 2:.0f}" y="{_HEIGHT - 8}" text-anchor="middle">{below}</text>
</svg>
"""
