"""Shows what was measured: a table for people, JSON for programs, and the tables in docs/performance.md."""

import json
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from bench.measures import COLUMNS, Measure

#: Around a part's table in the page.
BEGIN, END = "<!-- the command writes {part} from here -->", "<!-- {part} to here -->"
#: Of the median: what is written into the page must not differ more from round to round.
MAX_SPREAD = 0.5


def show(measures: Sequence[Measure], machine: Mapping[str, str], console: Console) -> None:
    """Print the table, and what it was measured on."""
    table = Table(*COLUMNS, caption="ratio: the first line of a group divided by this one", show_lines=False)
    for measure in measures:
        for number, row in enumerate(measure.rows):
            part, name, *rest = row.cells
            table.add_row(*((part, name) if number == 0 else ("", "")), *rest)
        table.add_section()
    console.print(table)
    console.print(in_words(machine), style="dim", highlight=False)


def in_words(machine: Mapping[str, str]) -> str:
    """The machine in one line."""
    return ", ".join(f"{name} {value}" for name, value in machine.items())


def unsteady(measures: Sequence[Measure]) -> list[str]:
    """What was not the same in each round: a sentence for each line that varies by more than `MAX_SPREAD`."""
    rows = [row for measure in measures if not measure.is_of_many for row in measure.rows]
    return [
        f"{row.part}, {row.measure}, {row.who}: {row.least:,.{row.digits}f} to {row.most:,.{row.digits}f} {row.unit}"
        for row in rows
        if row.most - row.least > MAX_SPREAD * row.median
    ]


def as_json(measures: Sequence[Measure], machine: Mapping[str, str], *, quick: bool) -> dict[str, Any]:
    """All samples, for a program."""
    return {"machine": dict(machine), "quick": quick, "measures": [one.as_json() for one in measures]}


def write_json(path: Path, found: Mapping[str, Any]) -> None:
    """Keep them in a file."""
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def write_docs(page: Path, measures: Sequence[Measure], described: str) -> None:
    """Put each part's table between its markers in the page, in place of that before; the others stay.

    Raises ClickException where the page has no markers for it.
    """
    # it loads every service
    from bench import day1000

    for part, found in groupby(measures, key=lambda measure: measure.part):
        table = day1000.table if part == day1000.PART else _table
        _write_between(page, part, [*table(list(found)), "", described])


def _table(measures: Sequence[Measure]) -> list[str]:
    lines = [f"| {' | '.join(COLUMNS[1:])} |", "|" + "---|" * len(COLUMNS[1:])]
    return lines + [f"| {' | '.join(row.cells[1:])} |" for measure in measures for row in measure.rows]


def _write_between(page: Path, part: str, lines: Sequence[str]) -> None:
    begin_marker, end_marker = BEGIN.format(part=part), END.format(part=part)
    before, begin, rest = page.read_text(encoding="utf-8").partition(begin_marker)
    _, end, after = rest.partition(end_marker)
    if not begin or not end:
        raise click.ClickException(
            f"{page} has lost its markers; write these two lines again: {begin_marker} and {end_marker}"
        )
    text = "\n".join(lines)
    page.write_text(f"{before}{begin_marker}\n\n{text}\n\n{end_marker}{after}", encoding="utf-8")
