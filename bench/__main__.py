"""`python -m bench`: measure Nouba beside its rivals on this machine, and print what was found."""

import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench import machine, plot, report
from bench.measures import Measure, Options, Show
from shared.runtime import logs

#: Each is a module of this package with `measure(options, show)`.
PARTS = ("gateway", "payments", "queue", "events", "transcoder", "stats", "day1000", "soak")
ROUNDS = 3
#: Of one minute, before anything is measured.
MAX_LOAD = 0.5
PROJECT = Path(__file__).parent.parent
RESULTS = PROJECT / "bench" / "results.json"
PAGE = PROJECT / "docs" / "performance.md"
#: By part.
PLOT = "performance-{}.svg"


@click.command()
@click.argument("parts", metavar="[PART]...", type=click.Choice(PARTS), nargs=-1)
@click.option("--quick", is_flag=True, help="Seconds rather than minutes: shows that it works, not how fast it is.")
@click.option(
    "--rounds", type=click.IntRange(1, 20), help=f"How often each contender has its turn.  [default: {ROUNDS}]"
)
@click.option(
    "--stats-size", type=click.Choice(["small", "medium", "10m"]), help="The school; else the largest that fits."
)
@click.option(
    "--keep",
    "kept_folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the schools of stats and day1000 and their server here, and measure them again where they are kept.",
)
@click.option(
    "--scale",
    type=click.FloatRange(0.0001, 1),
    help="The school of day1000 and the webhooks of soak, as a share of three years and a million.  [default: 1]",
)
@click.option("--only", default="", metavar="TEXT", help="Of day1000, time what has this in its name.")
@click.option("--prune/--no-prune", default=True, help="Erase old data of day1000 then, and time everything again.")
@click.option("--json", "path", type=click.Path(path_type=Path), help="Where the samples go; - is standard output.")
@click.option(
    "--write-docs",
    is_flag=True,
    help=f"Put the tables and the plots into docs/; refused on a busy machine, or below {ROUNDS} rounds.",
)
@click.option("--beside", help="What else runs on the machine, for the page: --write-docs then refuses nothing.")
def bench(
    parts: Sequence[str],
    quick: bool,
    rounds: int | None,
    stats_size: str | None,
    kept_folder: Path | None,
    scale: float | None,
    only: str,
    prune: bool,
    path: Path | None,
    write_docs: bool,
    beside: str | None,
) -> None:
    """Measure the PARTs, or all: gateway, payments, queue, events, transcoder, stats, day1000, soak.

    Real servers and processes are started on this machine for each part and removed after it. Subject and rivals take
    turns in one run, so compare the ratios; the figures themselves are this machine's, and only while it is idle.
    """
    if write_docs and quick:
        raise click.UsageError(
            "--quick measures nothing worth writing down; leave out one of --quick and --write-docs."
        )
    if write_docs and beside is None:
        _require_idle(rounds or ROUNDS)
    # to be ended by a signal is as good a reason to stop the servers as Ctrl-C
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # standard output is for --json alone
    logs.configure("bench")
    described = machine.describe()
    console = Console(stderr=True)
    measures: list[Measure] = []
    try:
        for part in parts or PARTS:
            with tempfile.TemporaryDirectory(prefix="nouba-bench-") as folder, _bar(console, part) as show:
                options = Options(
                    folder=Path(folder),
                    quick=quick,
                    rounds=rounds or (1 if quick else ROUNDS),
                    stats_size=stats_size,
                    kept_folder=kept_folder,
                    scale=scale,
                    only=only,
                    prune=prune,
                )
                measure: Callable[[Options, Show], Iterator[Measure]] = import_module(f"bench.{part}").measure
                for one in measure(options, show):
                    measures.append(one)
    except BaseException:
        # minutes of work: what was measured before the fault or Ctrl-C is shown
        report.show(measures, described, Console(stderr=True))
        raise
    found = report.as_json(measures, described, quick=quick)
    if path is not None and str(path) == "-":
        click.echo(json.dumps(found))
        return
    # a pipe has no width of its own, and no column may be lost in it
    report.show(measures, described, Console(width=None if sys.stdout.isatty() else 200))
    if path is not None or not quick:
        report.write_json(path or RESULTS, found)
    if write_docs:
        if beside is None and (unsteady := report.unsteady(measures)):
            raise click.ClickException("\n".join(["The page was not written, since this varies too much:", *unsteady]))
        report.write_docs(PAGE, measures, report.in_words({**described, **({"beside": beside} if beside else {})}))
        for growth in (one for one in measures if one.grows_with):
            plot.write(PAGE.with_name(PLOT.format(growth.part)), growth)


def _require_idle(rounds: int) -> None:
    """Raise UsageError where what is measured would not be worth writing down."""
    if rounds < ROUNDS:
        raise click.UsageError(f"The page shows medians of {ROUNDS} rounds or more; leave out --rounds {rounds}.")
    load = os.getloadavg()[0]
    if load > MAX_LOAD:
        raise click.UsageError(
            f"The load is {load:.1f}, so other work would be measured too: wait until it is below {MAX_LOAD}, or say "
            "what runs, for the page: --beside 'a build'."
        )


@contextmanager
def _bar(console: Console, part: str) -> Iterator[Show]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(part)

        def show(doing: str, done: int, steps: int) -> None:
            progress.update(task, description=f"{part}: {doing}", completed=done, total=steps)

        yield show


if __name__ == "__main__":
    bench(prog_name="python -m bench")
