"""Shows what was measured: a table for people, JSON for programs, and the table in docs/performance.md."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from bench.figures import COLUMNS, Measure

BEGIN, END = "<!-- the command writes from here -->", "<!-- to here -->"


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
    """Put the table between the page's two markers, in place of the one before. Raises ClickException without them."""
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise click.ClickException(f"{page} has lost its markers; write these two lines again: {BEGIN} and {END}")
    lines = [f"| {' | '.join(COLUMNS)} |", "|" + "---|" * len(COLUMNS)]
    lines += [f"| {' | '.join(row.cells)} |" for measure in measures for row in measure.rows]
    description = ", ".join(f"{name} {value}" for name, value in machine.items())
    page.write_text(f"{before}{BEGIN}\n\n" + "\n".join(lines) + f"\n\n{description}\n\n{END}{after}", encoding="utf-8")
