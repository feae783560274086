"""Output of `nouba stats`: tables and JSON."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from services.stats.humanize import scaled
from services.stats.rows.row import Row
from services.stats.sections import SECTIONS
from services.stats.sections.base import MetricDefinition, Section, Unit
from services.stats.sections.catalogue import find
from services.stats.snapshots.backfill import VerificationReport
from services.stats.snapshots.compute import CORRECTIONS, Outcome
from services.stats.snapshots.postgres_snapshots import Snapshot
from shared.operations.cli_options import cell
from shared.runtime.currency import format_minor

_console = Console()
_errors = Console(stderr=True)

#: So many keys of a breakdown fit on a line.
_KEYS = 4


def show(snapshot: Snapshot) -> None:
    """One day, a table a section."""
    payload = snapshot.payload
    computed_at = snapshot.computed_at.astimezone().strftime("%Y-%m-%d %H:%M %Z")
    _console.print(
        f"[bold]{snapshot.day:%A %d %B %Y}[/] in {payload['zone']}, version {snapshot.version} of {computed_at}"
    )
    if snapshot.closed:
        _console.print("[bold]closed[/]: what comes later is a correction in the open month")
    _corrections(payload)
    for section in SECTIONS:
        name, found = section.name, payload["sections"].get(section.name, {})
        table = Table(title=name, title_justify="left", title_style="bold", show_header=False, box=None, padding=(0, 2))
        if "failed" in found:
            table.add_row("[red]failed[/]", cell(found["failed"]))
        for _, number in find(f"{name}."):
            if number.name in found.get("numbers", {}):
                written = _written(found["numbers"][number.name], number.unit, payload["currency"])
                table.add_row(number.name, cell(written))
        _console.print(table)


def _corrections(payload: Mapping[str, Any]) -> None:
    if not (booked := payload.get("corrections")):
        return
    table = Table(title="corrections of closed months", title_justify="left", title_style="bold", show_header=False)
    for name, value in booked.items():
        (_, number), *_ = find(name)
        table.add_row(name, cell(_written(value, number.unit, payload["currency"])))
    _console.print(table)


def computed(outcome: Outcome, first: date, last: date) -> None:
    """What a computation did; a section that failed makes the exit status 1."""
    span = str(first) if first == last else f"{first} to {last}"
    _console.print(f"{span}: {outcome.days} days computed, {outcome.new_versions} of them new or changed.")
    if outcome.corrected:
        days = len(outcome.corrected)
        _console.print(f"{days} closed days stay as they are; what differs is a correction in the open month.")
    for day, reasons in outcome.failed.items():
        for name, reason in reasons.items():
            _errors.print(f"[red]{day}[/]", cell(f"{name} failed: {reason}"), highlight=False)
    if outcome.failed:
        _errors.print("The other sections are kept; these days stay due.")
        raise SystemExit(1)


def verified(verdict: VerificationReport) -> None:
    """Whether the kept days are right, and which numbers of which days are not."""
    if verdict.missing:
        _console.print(f"[red]{len(verdict.missing)} days are missing[/], the first is {verdict.missing[0]}.")
    if verdict.differing:
        table = Table("day", "number", "kept", "the facts say", title="Not equal to a rebuild", title_justify="left")
        for day, numbers in verdict.differing.items():
            for name, (kept, rebuilt) in numbers.items():
                table.add_row(str(day), *map(cell, (name, _plain(kept), _plain(rebuilt))))
        _console.print(table)
        _console.print("Compute them again with: nouba stats compute FROM TO")
    if verdict.due:
        _console.print(f"{len(verdict.due)} days are due and were not compared, the first is {min(verdict.due)}.")
    if verdict.failed:
        _console.print(f"[red]{len(verdict.failed)} days could not be read[/], the first is {verdict.failed[0]}.")
    if not verdict.missing and not verdict.differing and not verdict.failed:
        equal = verdict.days - len(verdict.due)
        _console.print(f"[green]{equal} days equal a rebuild from the facts.[/]")


def differing(one: date, other: date, found: Mapping[str, tuple[Any, Any]]) -> None:
    """What differs between two days."""
    if not found:
        _console.print(f"{one} and {other} have the same numbers.")
        return
    table = Table("number", str(one), str(other), "change")
    for name, (before, after) in found.items():
        change = f"{after - before:+,}" if isinstance(before, int) and isinstance(after, int) else ""
        table.add_row(*map(cell, (name, _plain(before), _plain(after), change)))
    _console.print(table)


def explained(found: Sequence[tuple[Section, MetricDefinition]]) -> None:
    """What numbers mean."""
    table = Table("number", "unit", "definition")
    for section, number in found:
        by = f" By {number.by}." if number.by else ""
        observed = " [yellow]Known at the day's end only.[/]" if number.observed else ""
        table.add_row(f"{section.name}.{number.name}", number.unit, number.definition + by + observed)
    _console.print(table)


def rows(number: str, found: Sequence[Row], currency: str) -> None:
    """The rows behind a number, in its unit."""
    of = number.removeprefix(CORRECTIONS)
    unit = next(one.unit for section, one in find(of) if f"{section.name}.{one.name}" == of)
    table = Table("what", "id", "user", "when", "closed day", "key", "how much")
    for row in found:
        when = row.at.astimezone().strftime("%Y-%m-%d %H:%M:%S") if row.at else ""
        amount = _amount(row.amount, unit, currency)
        texts = (row.source, str(row.id), str(row.user_id or ""), when, str(row.day or ""), row.key or "", amount)
        table.add_row(*map(cell, texts))
    _console.print(table)


def definitions_as_json(found: Sequence[tuple[Section, MetricDefinition]]) -> list[dict[str, Any]]:
    """The same for a program."""
    return [
        {
            "id": f"{section.name}.{number.name}",
            "unit": number.unit,
            "definition": number.definition,
            "by": number.by,
            "observed": number.observed,
        }
        for section, number in found
    ]


def verdict_as_json(verdict: VerificationReport) -> dict[str, Any]:
    """The same for a program."""
    return {
        "days": verdict.days,
        "missing": [str(day) for day in verdict.missing],
        "differing": {
            str(day): {name: {"kept": kept, "rebuilt": rebuilt} for name, (kept, rebuilt) in numbers.items()}
            for day, numbers in verdict.differing.items()
        },
        "due": [str(day) for day in verdict.due],
        "failed": [str(day) for day in verdict.failed],
    }


@contextmanager
def progress(title: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error, which shows how many of how many days are done."""
    with _bar() as bar:
        task = bar.add_task(title)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def seeding() -> Iterator[Callable[[str, int, int], None]]:
    """A bar a table, which shows how many of how many rows are made."""
    with _bar() as bar:
        tasks: dict[str, Any] = {}

        def show_progress(table: str, done: int, total: int) -> None:
            task = tasks.setdefault(table, None)
            if task is None:
                task = tasks[table] = bar.add_task(table, total=total)
            bar.update(task, completed=done, total=total)

        yield show_progress


def _bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=_errors)


def _written(value: Any, unit: Unit, currency: str) -> str:
    if isinstance(value, dict):
        ordered = sorted(value.items(), key=lambda item: (-item[1], item[0]))
        names = ", ".join(f"{key} {_amount(amount, unit, currency)}" for key, amount in ordered[:_KEYS])
        more = len(ordered) - _KEYS
        return f"{names} and {more} more" if more > 0 else names
    return _amount(value, unit, currency)


def _amount(value: int, unit: Unit, currency: str) -> str:
    if unit is Unit.MINOR:
        return format_minor(value, currency)
    if unit is Unit.BASIS_POINTS:
        return f"{value / 100:.2f} %"
    if unit is Unit.HUNDREDTHS:
        return f"{value / 100:,.2f}"
    if unit in (Unit.MILLISECONDS, Unit.MINUTES, Unit.BYTES):
        amount, name = scaled(value, unit)
        return f"{amount:,} {name}"
    return f"{value:,}"


def _plain(value: Any) -> str:
    return "none" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
