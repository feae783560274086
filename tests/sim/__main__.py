"""`python -m tests.sim`: plays interleavings of gateways, relays and workers, until one ends with wrong books."""

import json
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import click
import psycopg2
import structlog
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from local.postgres import Postgres
from shared.runtime.migrations import migrate
from tests.sim.interleaving import SEEDS_PER_DATABASE, Servers, run_seed

#: What the code logs about faults that are made on purpose would bury the result.
_QUIET = structlog.make_filtering_bound_logger(50)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--seeds", default=10_000, show_default=True, type=click.IntRange(1), help="How many interleavings.")
@click.option("--first", default=0, show_default=True, type=click.IntRange(0), help="The first seed.")
@click.option("--seed", type=click.IntRange(0), help="Play this one alone, and show every step of it.")
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object on standard output.")
def sim(seeds: int, first: int, seed: int | None, as_json: bool) -> None:
    """Play the code's steps in many orders, with deaths and losses at any of them, and compare the books at the end.

    \b
    Examples:
      make sim                              10,000 interleavings
      make sim ARGS="--seeds 1000000"       a night
      make sim ARGS="--seed 4711"           one again, step by step

    Exit status 1 at the first interleaving whose end is not right; its seed plays it again.
    """
    structlog.configure(wrapper_class=_QUIET)
    with _postgres() as server:
        if seed is not None:
            with _servers(server) as servers:
                sys.exit(_play_one(servers, seed))
        sys.exit(_play_all(server, range(first, first + seeds), as_json=as_json))


def _play_all(server: Postgres, seeds: range, *, as_json: bool) -> int:
    steps = 0
    console = Console(stderr=True)
    columns = (TextColumn("interleavings"), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=as_json or not console.is_terminal) as progress:
        bar = progress.add_task("", total=len(seeds))
        for begin in range(0, len(seeds), SEEDS_PER_DATABASE):
            with _servers(server) as servers:
                for seed in seeds[begin : begin + SEEDS_PER_DATABASE]:
                    try:
                        steps += len(run_seed(servers, seed).trace)
                    except Exception as error:  # noqa: BLE001 - whatever it is, this interleaving shows it
                        progress.stop()
                        _show_fault(seed, error, as_json=as_json)
                        return 1
                    progress.advance(bar)
    if as_json:
        print(json.dumps({"interleavings": len(seeds), "steps": steps}))
    else:
        print(f"{len(seeds):,} interleavings of {steps:,} steps: nothing lost, nothing booked twice.")
    return 0


def _show_fault(seed: int, error: Exception, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"seed": seed, "error": f"{type(error).__name__}: {error}"}))
        return
    print(f"Interleaving {seed}: {type(error).__name__}: {error}")
    print(f'Play it again, step by step: make sim ARGS="--seed {seed}"')


def _play_one(servers: Servers, seed: int) -> int:
    error: Exception | None = None
    try:
        trace = run_seed(servers, seed).trace
    except Exception as raised:  # noqa: BLE001 - it is shown after its steps
        error, trace = raised, raised.trace  # type: ignore[attr-defined]
    for number, (process, point, what) in enumerate(trace, 1):
        print(f"{number:>5}  {process:<12} {point} {what.upper()}".rstrip())
    print(f"{type(error).__name__}: {error}" if error else "The end is as it must be.")
    return 1 if error else 0


@contextmanager
def _postgres() -> Iterator[Postgres]:
    """A PostgreSQL of its own, whose database `postgres` has the newest schema."""
    with tempfile.TemporaryDirectory(prefix="nouba-sim-") as folder:
        server = Postgres(Path(folder), durable=False)
        server.start()
        try:
            migrate(server.url_of("postgres"))
            yield server
        finally:
            server.stop()


@contextmanager
def _servers(server: Postgres) -> Iterator[Servers]:
    """A new database of `server` with the newest schema."""
    name = f"sim_{uuid.uuid4().hex[:12]}"
    # from the database of no copy: nobody may be connected to the one that is copied
    with closing(psycopg2.connect(server.url_of("template1"))) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(f"CREATE DATABASE {name} TEMPLATE postgres")
        with Servers.of(server.url_of(name)) as servers:
            yield servers
        cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")


if __name__ == "__main__":
    sim()
