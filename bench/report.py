"""Shows what was measured: a table for people, JSON for programs, and the table in docs/performance.md."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from bench.measures import COLUMNS, Measure

BEGIN, END = "<!-- the command writes from here -->", "<!-- to here -->"
READS_BEGIN, READS_END = "<!-- the command writes day1000 from here -->", "<!-- day1000 to here -->"


def show(measures: Sequence[Measure], machine: Mapping[str, str], console: Console) -> None:
    """Print the table, and what it was measured on."""
    table = Table(*COLUMNS, caption="ratio: the first line of a group divided by this one", show_lines=False)
    for measure in measures:
        for number, row in enumerate(measure.rows):
            part, name, *rest = row.cells
            table.add_row(*((part, name) if number == 0 else ("", "")), *rest)
        table.add_section()
    console.print(table)
    console.print(", ".join(f"{name} {value}" for name, value in machine.items()), style="dim", highlight=False)


def as_json(measures: Sequence[Measure], machine: Mapping[str, str], *, quick: bool) -> dict[str, Any]:
    """All samples, for a program."""
    return {"machine": dict(machine), "quick": quick, "measures": [one.as_json() for one in measures]}


def write_json(path: Path, found: Mapping[str, Any]) -> None:
    """Keep them in a file."""
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def write_docs(page: Path, measures: Sequence[Measure], machine: Mapping[str, str]) -> None:
    """Put the tables between the page's markers, in place of those before. Raises ClickException without them.

    The part `day1000` has a table of its own: it has a line for each read, and no rivals.
    """
    # it loads every service
    from bench import day1000

    description = ", ".join(f"{name} {value}" for name, value in machine.items())
    reads = [measure for measure in measures if measure.part == day1000.PART]
    rest = [measure for measure in measures if measure.part != day1000.PART]
    if rest:
        lines = [f"| {' | '.join(COLUMNS)} |", "|" + "---|" * len(COLUMNS)]
        lines += [f"| {' | '.join(row.cells)} |" for measure in rest for row in measure.rows]
        _write_between(page, BEGIN, END, [*lines, "", description])
    if reads:
        _write_between(page, READS_BEGIN, READS_END, [*day1000.table(reads), "", description])


def _write_between(page: Path, begin_marker: str, end_marker: str, lines: Sequence[str]) -> None:
    before, begin, rest = page.read_text(encoding="utf-8").partition(begin_marker)
    _, end, after = rest.partition(end_marker)
    if not begin or not end:
        raise click.ClickException(
            f"{page} has lost its markers; write these two lines again: {begin_marker} and {end_marker}"
        )
    text = "\n".join(lines)
    page.write_text(f"{before}{begin_marker}\n\n{text}\n\n{end_marker}{after}", encoding="utf-8")
