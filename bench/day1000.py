"""The part `day1000`: three years of a school beside its first day, read by read, before and after retention."""

import json
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
from shared.operations.retention.erase_old import erase_batch, rules
from shared.operations.retention.settings import RetentionSettings
from shared.runtime.database import build_engine
from shared.runtime.migrations import migrate

PART = "day1000"
#: The first line of each group is the old installation, so that its ratio is what the years cost.
OLD, NEW, PRUNED = "day 1,000", "day 1", "day 1,000, pruned"
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


def work_of(who: str) -> str:
    """The samples of what the database did for these."""
    return f"{who}, database"


def measure(options: Options, show: Show) -> Iterator[Measure]:
    """Write both installations, time everything in both, in turn; erase what is past its retention, and time again."""
    with (
        postgres(options.kept_folder or options.folder, SETTINGS, keep=options.kept_folder is not None) as server,
        ExitStack() as stack,
    ):
        urls = {name: server.url_of(name) for name in ("first", "old")}
        scale, rate = _kept(server.url_of("postgres"), urls) or _write_both(
            options, server.url_of("postgres"), urls, show
        )
        if options.scale not in (None, scale):
            raise click.ClickException(f"{options.kept_folder} keeps an installation at scale {scale:g}.")
        name = f"seeding at scale {scale:g} ({school.describe(scale)})"
        yield Measure(part=PART, name=name, unit="rows/s", samples={"bench": [rate]}, digits=0)
        yield _size("size of the database", urls["old"])
        clock = stack.enter_context(_Clock(server.url_of("nouba")))
        reads = [one for one in everything() if options.only in f"{one.kind}: {one.name}"]
        found = _time_all(options, reads, urls, clock, show)
        if options.prune:
            yield from _prune(urls["old"], show)
            yield _size("size of the database after it", urls["old"])
            again = _time_all(options, reads, urls, clock, show)
            for one in reads:
                samples = again[one.kind, one.name]
                found[one.kind, one.name] |= {PRUNED: samples[OLD], work_of(PRUNED): samples[work_of(OLD)]}
        for one in reads:
            samples = found[one.kind, one.name]
            goal = judge(one, samples)
            yield Measure(part=PART, name=f"{one.kind}: {one.name}", unit="ms", samples=samples, goal=goal)


def _time_all(
    options: Options, reads: Sequence[Timed], urls: Mapping[str, str], clock: "_Clock", show: Show
) -> dict[tuple[str, str], dict[str, list[float]]]:
    for url in urls.values():
        school.make_calm(url)
    with ExitStack() as stack:
        installations = {
            OLD: (Installation(urls["old"], stack), "old"),
            NEW: (Installation(urls["first"], stack), "first"),
        }
        rounds = _QUICK_ROUNDS if options.quick else _ROUNDS
        found = {}
        for number, one in enumerate(reads):
            show(one.name, number, len(reads))
            samples: dict[str, list[float]] = {name: [] for who in installations for name in (who, work_of(who))}
            doing = {who: (one.prepare(at), database) for who, (at, database) in installations.items()}
            for do, _ in doing.values():
                do()
            for _ in range(rounds):
                for who, (do, database) in doing.items():
                    before, began = clock.milliseconds(database), time.perf_counter()
                    do()
                    samples[who].append(1000 * (time.perf_counter() - began))
                    # a page that asks the database nothing has a ratio, too
                    samples[work_of(who)].append(max(clock.milliseconds(database) - before, MIN_MS))
            found[one.kind, one.name] = samples
        return found


def _prune(url: str, show: Show) -> Iterator[Measure]:
    """Erase as `nouba retention run` does with its own settings, kind by kind."""
    given: dict[str, Any] = {"database_url": url}
    engine = build_engine(url, pool_size=1, application="nouba bench")
    try:
        for rule in rules(RetentionSettings(**given)):
            began, erased = time.perf_counter(), 0
            while batch := erase_batch(engine, rule, datetime.now(UTC)):
                erased += batch
                show(f"erasing {rule.kind}", erased, 0)
            if rule.days:
                seconds = time.perf_counter() - began
                yield Measure(
                    part=PART,
                    name=f"erasing {rule.kind} older than {rule.days} days",
                    unit="s",
                    samples={"bench": [seconds]},
                    goal=f"{erased:,} rows",
                    digits=0,
                )
    finally:
        engine.dispose()
    show("sealing and vacuuming", 0, 1)
    school.finish_pruning(url)


def _size(what: str, url: str) -> Measure:
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_database_size(current_database())")
        (size_bytes,) = cursor.fetchone() or (0,)
    return Measure(part=PART, name=what, unit="MB", samples={"bench": [size_bytes / 1e6]}, digits=0)


def judge(one: Timed, samples: Mapping[str, Sequence[float]]) -> str:
    """The budget in words, and what is over it."""
    parts = [f"{MAX_TIMES:g} times day 1"]
    if one.most_ms is not None:
        parts.insert(0, f"{one.most_ms:g} ms of {'database' if _is_work(one) else 'p95'}")
    words = f"at most {' and '.join(parts)}"
    if over := _over(one, samples, OLD):
        words += f"; **over: {', '.join(over)}**"
    if PRUNED in samples and (over := _over(one, samples, PRUNED)):
        words += f"; **over when pruned: {', '.join(over)}**"
    return words


def _over(one: Timed, samples: Mapping[str, Sequence[float]], who: str) -> list[str]:
    """What of it is over its budget."""
    old, new = (samples[work_of(name) if _is_work(one) else name] for name in (who, NEW))
    over = []
    noise_ms = NOISE_MS.get(one.kind, PAGE_NOISE_MS)
    if median(old) > MAX_TIMES * median(new) and median(old) - median(new) > noise_ms:
        over.append(f"{median(old) / max(median(new), MIN_MS):.1f} times")
    if one.most_ms is not None:
        found = median(old) if _is_work(one) else percentile(old, 0.95)
        if found > one.most_ms:
            over.append(f"{found:.0f} ms")
    return over


def _is_work(one: Timed) -> bool:
    """Whether the database's work counts, and not the time of the answer."""
    return one.kind in ("periodic", "hot")


def table(measures: Sequence[Measure]) -> list[str]:
    """One line a read, for the page."""
    columns = [NEW, OLD, *([PRUNED] if any(PRUNED in one.samples for one in measures) else [])]
    titles = ["kind", "read", *columns, *(f"database, {who}" for who in columns), "budget"]
    lines = [f"| {' | '.join(titles)} |", "|" + "---|" * len(titles)]
    for one in measures:
        kind, _, name = one.name.partition(": ")
        if OLD in one.samples:
            names = [*columns, *map(work_of, columns)]
            cells = [kind, f"`{name}`", *(f"{median(one.samples[who]):,.1f} ms" for who in names), one.goal]
        else:
            value = f"{median(next(iter(one.samples.values()))):,.0f} {one.unit}"
            cells = ["", one.name, "", value, *[""] * (len(titles) - 5), one.goal]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _kept(server_url: str, urls: Mapping[str, str]) -> tuple[float, int] | None:
    """The scale of the installation that the server has already, and the rows a second with which it was written."""
    with closing(psycopg2.connect(server_url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = 'old'")
        (written,) = cursor.fetchone() or (None,)
    if written is None:
        return None
    for url in urls.values():
        migrate(url)
    found = json.loads(written)
    return found["scale"], found["rows_per_second"]


def _write_both(options: Options, server_url: str, urls: Mapping[str, str], show: Show) -> tuple[float, int]:
    scale = options.scale or (0.0005 if options.quick else 1.0)
    _require_room(options, scale)
    with closing(psycopg2.connect(server_url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        for name in urls:
            # one that was not written to its end
            cursor.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))
            cursor.execute(sql.SQL("CREATE DATABASE {} TEMPLATE nouba").format(sql.Identifier(name)))
        _write(urls["first"], _FIRST_DAY, show)
        rate = _write(urls["old"], scale, show)
        cursor.execute("COMMENT ON DATABASE old IS %s", (json.dumps({"scale": scale, "rows_per_second": rate}),))
    return scale, rate


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
    free = shutil.disk_usage(options.kept_folder or options.folder).free
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
            cursor.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def milliseconds(self, database: str) -> float:
        with self._connection.cursor() as cursor:
            cursor.execute(_STATEMENTS, (database,))
            (found,) = cursor.fetchone() or (0.0,)
        return float(found)
