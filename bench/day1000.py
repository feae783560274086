"""The part `day1000`: three years of a school beside its first day, read by read."""

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from typing import Any

import click
import psycopg2
from psycopg2 import sql

from bench import day1000_school as school
from bench.day1000_workload import Installation, Timed, everything
from bench.measures import Measure, Options, Show, percentile
from bench.periodic_reads import ZONE
from bench.running import postgres
from services.stats.days import ONE_DAY, day_of
from services.stats.settings import CountSettings
from services.stats.snapshots.wiring import build_computation
from shared.runtime.database import build_engine

PART = "day1000"
#: The first line of each group is the old installation, so that its ratio is what the years cost.
OLD, NEW, OLD_WORK, NEW_WORK = "day 1,000", "day 1", "day 1,000, database", "day 1, database"
MAX_TIMES = 1.5
#: Differences below this many milliseconds are the machine's.
NOISE_MS = {"periodic": 1.0, "hot": 0.5}
PAGE_NOISE_MS = 5.0
MIN_MS = 0.001
#: Of the server, besides its defaults: nothing but what is timed may work meanwhile.
SETTINGS = {
    "shared_preload_libraries": "pg_stat_statements",
    "pg_stat_statements.track_planning": "on",
    "pg_stat_statements.max": 20000,
    "max_wal_size": "4GB",
    "checkpoint_timeout": "30min",
    "autovacuum": "off",
}
_ROUNDS, _QUICK_ROUNDS = 10, 2
_FIRST_DAY = 0.0002
_STATEMENTS = """
SELECT coalesce(sum(total_exec_time + total_plan_time), 0) FROM pg_stat_statements
WHERE dbid = (SELECT oid FROM pg_database WHERE datname = %s) AND query NOT LIKE '%%pg_stat_statements%%'
"""


def measure(options: Options, show: Show) -> Iterator[Measure]:
    """Write both installations, and time everything in both, in turn."""
    scale = options.scale or (0.0005 if options.quick else 1.0)
    _require_room(options, scale)
    with postgres(options.folder, SETTINGS) as server, ExitStack() as stack:
        urls = {name: server.url_of(name) for name in ("first", "old")}
        with closing(psycopg2.connect(server.url_of("postgres"))) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            for name in urls:
                cursor.execute(sql.SQL("CREATE DATABASE {} TEMPLATE nouba").format(sql.Identifier(name)))
        _write(urls["first"], _FIRST_DAY, show)
        rate = _write(urls["old"], scale, show)
        name = f"seeding at scale {scale:g} ({school.describe(scale)})"
        yield Measure(part=PART, name=name, unit="rows/s", samples={"bench": [rate]}, digits=0)
        clock = stack.enter_context(_Clock(server.url_of("nouba")))
        yield from _time_all(options, urls, clock, stack, show)


def _time_all(
    options: Options, urls: Mapping[str, str], clock: "_Clock", stack: ExitStack, show: Show
) -> Iterator[Measure]:
    first, old = Installation(urls["first"], stack), Installation(urls["old"], stack)
    timed = list(everything())
    rounds = _QUICK_ROUNDS if options.quick else _ROUNDS
    for number, one in enumerate(timed):
        show(one.name, number, len(timed))
        samples: dict[str, list[float]] = {who: [] for who in (OLD, NEW, OLD_WORK, NEW_WORK)}
        doing = {(OLD, OLD_WORK, "old"): one.prepare(old), (NEW, NEW_WORK, "first"): one.prepare(first)}
        for do in doing.values():
            do()
        for _ in range(rounds):
            for (who, work, database), do in doing.items():
                before, began = clock.milliseconds(database), time.perf_counter()
                do()
                samples[who].append(1000 * (time.perf_counter() - began))
                # a page that asks the database nothing has a ratio, too
                samples[work].append(max(clock.milliseconds(database) - before, MIN_MS))
        yield Measure(part=PART, name=f"{one.kind}: {one.name}", unit="ms", samples=samples, goal=_judge(one, samples))


def _judge(one: Timed, samples: Mapping[str, Sequence[float]]) -> str:
    """The budget in words, and what is over it."""
    is_work = one.kind in ("periodic", "hot")
    old, new = (samples[who] for who in ((OLD_WORK, NEW_WORK) if is_work else (OLD, NEW)))
    over = []
    parts = [f"{MAX_TIMES:g} times day 1"]
    noise_ms = NOISE_MS.get(one.kind, PAGE_NOISE_MS)
    if median(old) > MAX_TIMES * median(new) and median(old) - median(new) > noise_ms:
        over.append(f"{median(old) / max(median(new), 0.001):.1f} times")
    if one.most_ms is not None:
        found = median(old) if is_work else percentile(old, 0.95)
        parts.insert(0, f"{one.most_ms:g} ms of {'database' if is_work else 'p95'}")
        if found > one.most_ms:
            over.append(f"{found:.0f} ms")
    return f"at most {' and '.join(parts)}" + (f"; **over: {', '.join(over)}**" if over else "")


def table(measures: Sequence[Measure]) -> list[str]:
    """One line a read, for the page."""
    lines = [
        "| kind | read | day 1 | day 1,000 | database, day 1 | database, day 1,000 | budget |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in measures:
        kind, _, name = one.name.partition(": ")
        if OLD not in one.samples:
            lines.append(f"| | {one.name} | | {median(next(iter(one.samples.values()))):,.0f} {one.unit} | | | |")
            continue
        cells = [f"{median(one.samples[who]):,.1f} ms" for who in (NEW, OLD, NEW_WORK, OLD_WORK)]
        lines.append(f"| {kind} | `{name}` | {' | '.join(cells)} | {one.goal} |")
    return lines


def _write(url: str, scale: float, show: Show) -> int:
    """Fill one database, and compute its newest day; how many rows a second were written."""
    today = day_of(datetime.now(UTC), ZONE)
    engine = build_engine(url, pool_size=3, application="nouba bench")
    try:
        rate = school.write(engine, scale, today, ZONE, lambda what, done, of: show(f"writing {what}", done, of))
        show("computing the newest day", 0, 1)
        given: dict[str, Any] = {"database_url": url, "timezone": ZONE.key, "currency": "DZD"}
        settings = CountSettings(**given)
        computation = build_computation(engine, settings)
        computation.compute(today - ONE_DAY, today - ONE_DAY)
    finally:
        engine.dispose()
    school.finish(url, today - ONE_DAY)
    return rate


def _require_room(options: Options, scale: float) -> None:
    free = shutil.disk_usage(options.folder).free
    # while it is written, the log has some of it once more
    needed = scale * school.BYTES * 1.1 + 5e9 * min(1.0, 10 * scale)
    if needed > free:
        raise click.ClickException(
            f"At scale {scale:g} the old installation needs {needed / 1e9:.0f} GB and {free / 1e9:.0f} GB are free: "
            "give --scale."
        )


@dataclass
class _Clock:
    """How long a database of the server has worked, by `pg_stat_statements`: its executions and their plans."""

    url: str

    def __enter__(self) -> "_Clock":
        self._connection = psycopg2.connect(self.url)
        self._connection.autocommit = True
        with self._connection.cursor() as cursor:
            cursor.execute("CREATE EXTENSION pg_stat_statements")
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def milliseconds(self, database: str) -> float:
        with self._connection.cursor() as cursor:
            cursor.execute(_STATEMENTS, (database,))
            (found,) = cursor.fetchone() or (0.0,)
        return float(found)
