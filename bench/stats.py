"""The part `stats`: seeding, a full rebuild, one more day beside one scan of its tables, and the API."""

import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, date, datetime
from functools import cache, partial
from http import HTTPStatus
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import click
import httpx
import psycopg2
from psycopg2 import sql
from pydantic import SecretStr

from bench.load import Outcome, request, send
from bench.measures import Measure, Options, Show, alternate
from bench.running import NOUBA, environment, postgres, rabbitmq, run, running
from local.free_port import accepts, free_port
from services.stats.api.server import ROW_SECONDS
from services.stats.days import ONE_DAY, Days, day_of, midnight
from services.stats.rows.read_page import has_rows
from services.stats.sections.base import OTHERS
from services.stats.seeding.seeder import HISTORY_DAYS, SIZES, counts
from services.stats.settings import CountSettings
from services.stats.snapshots.compute import KEPT_DAYS, flatten
from services.stats.snapshots.dirty_days import mark
from services.stats.snapshots.wiring import build_computation
from shared.contracts.routes import STATS
from shared.contracts.stats import ComputeDay
from shared.messaging import outbox
from shared.runtime.database import build_engine
from shared.runtime.migrations import migrate

PART = "stats"
ZONE = ZoneInfo("Africa/Algiers")
#: The school is the largest that is seeded within this, and takes at most half of the free disk; `--stats-size` says
#: which one it is to be instead.
MAX_SEEDING_SECONDS = 900
RATE = 1000
CONNECTIONS = 32
#: The facts of a day, and when each of them happened: what a rebuild reads and a scan has to read too.
_FACTS = {
    "attendances": "checked_in_at",
    "payments": "created_at",
    "ledger_transactions": "created_at",
    "subscriptions": "created_at",
    "users": "created_at",
}


def measure(options: Options, show: Show) -> Iterator[Measure]:
    """Seed, one more day beside a scan, rebuild everything, read the API."""
    with postgres(options.kept_folder or options.folder, keep=options.kept_folder is not None) as server:
        size = _kept(options, server, show)
        if size is None:
            size, rate, why = _seed(options, server, show)
            rows = f"{SIZES[size]:,} users, {counts(SIZES[size])['payments']:,} payments"
            yield Measure(
                part=PART,
                name=f"seeding {size}, {why} ({rows}, {counts(SIZES[size])['attendances']:,} check-ins)",
                unit="rows/s",
                samples={"nouba stats seed": [rate]},
                goal="at least 200,000",
                digits=0,
            )
        url, payments = server.url_of(size), counts(SIZES[size])["payments"]
        yield from _increment(options, url, show)
        seconds = _rebuild(url, show)
        yield Measure(
            part=PART,
            name=f"full rebuild of {HISTORY_DAYS} days",
            unit="s",
            samples={"nouba stats compute": [seconds]},
            goal="at most 60 s",
        )
        yield _growth(options, server, {payments: seconds}, show)
        yield _worker(options, url, show)
        yield from _api(options, url, show)


def _kept(options: Options, server: Any, show: Show) -> str | None:
    """The name of the largest school that the server has already, without the days that were computed of it."""
    if options.kept_folder is None:
        return None
    for size in [options.stats_size] if options.stats_size else reversed(SIZES):
        if _exists(server, size) and _has_users(server.url_of(size)):
            show(f"preparing the school {size}", 0, 1)
            _forget_days(server.url_of(size))
            return size
    return None


def _has_users(url: str) -> bool:
    """Whether a school was seeded to its end: users are written last."""
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT FROM users LIMIT 1")
        return cursor.rowcount > 0


def _forget_days(url: str) -> None:
    migrate(url)
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        # what was computed is never changed, says a trigger
        cursor.execute("SET session_replication_role = replica")
        cursor.execute("TRUNCATE daily_stats, daily_stats_newest, daily_states, changed_days, closed_months CASCADE")
        connection.commit()


def _seed(options: Options, server: Any, show: Show) -> tuple[str, float, str]:
    """The name of the school, which is its database's too, how many rows a second were written, and why this one."""
    size = options.stats_size or ("small" if options.quick else "medium")
    rate, seconds = _seed_one(server, size, show)
    if options.stats_size:
        return size, rate, "as it was asked for"
    if options.quick:
        return size, rate, "to be quick"
    growth = SIZES["10m"] / SIZES["medium"]
    with closing(psycopg2.connect(server.url_of("medium"))) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_database_size(current_database())")
        (size_bytes,) = cursor.fetchone() or (0,)
    needed = f"10m needs {growth * size_bytes / 1e9:.0f} GB and {growth * seconds:.0f} s"
    if growth * size_bytes > shutil.disk_usage(options.folder).free / 2:
        return size, rate, f"the largest that fits the disk: {needed}"
    if growth * seconds > MAX_SEEDING_SECONDS:
        return size, rate, f"the largest that fits the time: {needed}"
    return "10m", _seed_one(server, "10m", show)[0], needed


def _seed_one(server: Any, size: str, show: Show) -> tuple[float, float]:
    show(f"seeding the school {size}", 0, 1)
    with closing(psycopg2.connect(server.url_of("postgres"))) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(sql.SQL("CREATE DATABASE {} TEMPLATE nouba").format(sql.Identifier(size)))
    began = time.monotonic()
    settings = {"NOUBA_DATABASE_URL": server.url_of(size)}
    command: list[str | Path] = [NOUBA, "stats", "seed", "--size", size, "--until", _this_day().isoformat()]
    answer = subprocess.run(command, env=environment(settings), capture_output=True, text=True, check=False)
    found = re.search(r"([\d,]+) rows/s", answer.stdout)
    if answer.returncode != 0 or found is None:
        raise click.ClickException(f"`nouba stats seed` failed: {answer.stderr.strip()[-2000:]}")
    return float(found[1].replace(",", "")), time.monotonic() - began


def _increment(options: Options, url: str, show: Show) -> Iterator[Measure]:
    """The days after those that are kept, one at a time, beside finding a day's rows in their tables."""
    settings = CountSettings(database_url=SecretStr(url), timezone=ZONE.key, currency="DZD")
    engine = build_engine(url, pool_size=3, application="nouba bench")
    computation = build_computation(engine, settings)
    rounds = max(options.rounds, 3)
    # one more, which pays for what the server has to read from disk
    first = _today(url) - ONE_DAY * (rounds + 1)
    show("computing the days before", 0, 1)
    computation.compute(first - ONE_DAY * KEPT_DAYS, first - ONE_DAY)
    days = iter(Days(first, _today(url) - ONE_DAY, ZONE))

    def compute() -> float:
        day, began = next(days), time.monotonic()
        outcome = computation.compute(day, day)
        if outcome.new_versions != 1 or outcome.failed:
            raise click.ClickException(f"{day} was not computed: {outcome}.")
        return time.monotonic() - began

    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        contenders: dict[str, Callable[[], float]] = {
            "nouba, one more day": compute,
            "one sequential scan of the tables": partial(_read_day, connection, _today(url) - ONE_DAY, "off"),
            "reading the day's rows by their indexes": partial(_read_day, connection, _today(url) - ONE_DAY, "on"),
        }
        for contender in contenders.values():
            contender()
        found = alternate(rounds, contenders, show)
    engine.dispose()
    yield Measure(part=PART, name="one day's increment", unit="s", samples=found, goal="at most 2 s", digits=3)


def _read_day(connection: Any, day: date, indexes: str) -> float:
    """Seconds to find a day's rows of all tables, with indexes `on` or `off`."""
    began = time.monotonic()
    with connection.cursor() as cursor:
        for setting in ("enable_indexscan", "enable_indexonlyscan", "enable_bitmapscan"):
            cursor.execute(f"SET {setting} = {indexes}")
        for table, instant in _FACTS.items():
            query = sql.SQL("SELECT count(*) FROM {table} WHERE {instant} >= %s AND {instant} < %s")
            names = {"table": sql.Identifier(table), "instant": sql.Identifier(instant)}
            cursor.execute(query.format(**names), (midnight(day, ZONE), midnight(day + ONE_DAY, ZONE)))
    return time.monotonic() - began


def _rebuild(url: str, show: Show) -> float:
    show("rebuilding all days", 0, 1)
    first, last = _today(url) - ONE_DAY * HISTORY_DAYS, _today(url) - ONE_DAY
    command: list[str | Path] = [NOUBA, "stats", "compute", first.isoformat(), last.isoformat()]
    return run(command, {"NOUBA_DATABASE_URL": url}).wall_seconds


def _growth(options: Options, server: Any, found: dict[int, float], show: Show) -> Measure:
    """The rebuild in smaller schools beside the one that was `found`, by the number of payments."""
    for size in () if options.quick else ("small", "medium"):
        payments = counts(SIZES[size])["payments"]
        if payments < max(found):
            if not _exists(server, size):
                if options.kept_folder is not None:
                    continue
                _seed_one(server, size, show)
            _forget_days(server.url_of(size))
            found[payments] = _rebuild(server.url_of(size), show)
    samples = {f"{payments:,} payments": [seconds] for payments, seconds in sorted(found.items())}
    name, goal = "full rebuild, with more and more payments", "linear, above what 731 days cost by themselves"
    return Measure(part=PART, name=name, unit="s", samples=samples, goal=goal, grows_with="payments")


def _exists(server: Any, name: str) -> bool:
    with closing(psycopg2.connect(server.url_of("postgres"))) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT FROM pg_database WHERE datname = %s", (name,))
        return cursor.rowcount > 0


def _worker(options: Options, url: str, show: Show) -> Measure:
    """The worker's memory while it computes a day, and proves a night's share of those that are kept."""
    show("computing a day in the worker", 0, 1)
    engine, day = build_engine(url, pool_size=1, application="nouba bench"), _today(url) - ONE_DAY
    with engine.begin() as connection:
        mark(connection, [day])
        outbox.enqueue(connection, STATS, ComputeDay(day=day))
    engine.dispose()
    with rabbitmq(options.folder) as broker:
        settings = {"NOUBA_DATABASE_URL": url, "NOUBA_RABBITMQ_URL": broker.url}
        with running([NOUBA, "stats", "worker"], settings, options.folder / "worker.log") as worker:
            most_mb = worker.most_mb_until(lambda: "days proved" in worker.log, "did not compute the day", 300)
            if "days computed" not in worker.log:
                raise click.ClickException(f"The worker computed nothing: {worker.log[-2000:].strip()}")
    memory = {"stats worker": [most_mb]}
    return Measure(part=PART, name="memory of a process", unit="MB", samples=memory, goal="at most 200 MB", digits=0)


def _api(options: Options, url: str, show: Show) -> Iterator[Measure]:
    port, seconds = free_port(), 1 if options.quick else 10
    settings = {"NOUBA_DATABASE_URL": url, "NOUBA_STATS_PORT": str(port)}
    with running([NOUBA, "stats", "api"], settings, options.folder / "api.log") as process:
        process.wait(lambda: accepts(port), "does not listen")
        etag = httpx.get(f"http://127.0.0.1:{port}/api/stats/latest").headers["ETag"]
        whole = request("GET", "/api/stats/latest", {"Accept-Encoding": "gzip"})
        known = request("GET", "/api/stats/latest", {"Accept-Encoding": "gzip", "If-None-Match": etag})

        def ask(one: bytes, status: int) -> Outcome:
            return send(port, [one] * RATE * seconds, connections=CONNECTIONS, rate=RATE).require(status)

        # the first requests open files and make the answer
        send(port, [whole, known] * 500, connections=CONNECTIONS)
        asking = {"200, gzip": partial(ask, whole, 200), "304, If-None-Match": partial(ask, known, 304)}
        outcomes = alternate(options.rounds, asking, show)
        yield from _rows(options, url, f"http://127.0.0.1:{port}/api/stats", show)
    for share, goal in ((0.5, ""), (0.99, "at most 5 ms")):
        yield Measure(
            part=PART,
            name=f"API p{share * 100:.0f} at {RATE:,}/s",
            unit="ms",
            samples={what: [one.percentile_ms(share) for one in found] for what, found in outcomes.items()},
            goal=goal,
        )


def _rows(options: Options, url: str, api: str, show: Show) -> Iterator[Measure]:
    """The first, and one of the last, pages of rows behind every number and key, on a late, a middle and an early day.

    A breakdown is asked for as a whole, and by its largest and its smallest key and the rest of the keys.
    """
    back = (1,) if options.quick else (1, HISTORY_DAYS // 2, HISTORY_DAYS - 8)
    found: dict[str, dict[str, float]] = {}
    with httpx.Client(timeout=120) as client:
        for day in (_today(url) - ONE_DAY * number for number in back):
            numbers = flatten(client.get(f"{api}/{day}").raise_for_status().json())
            for done, (number, value) in enumerate(numbers.items()):
                show(f"rows of {number} of {day}", done, len(numbers))
                for key in _keys(value) if has_rows(number) else []:
                    times = found.setdefault(number.split(".")[0], {})
                    asked = {"number": number} if key is None else {"number": number, "key": key}
                    for page, seconds in _pages(client, f"{api}/{day}/rows", asked, url):
                        times[f"{number}, {f'key {key}, ' if key else ''}{page} page of {day}"] = seconds
    for section, times in found.items():
        slowest = max(times, key=lambda name: times[name])
        yield Measure(
            part=PART,
            name=f"a page of the rows behind a number of {section}",
            unit="s",
            samples={"GET /api/stats/<day>/rows": list(times.values())},
            goal=f"all {len(times)} at most 1 s; the slowest is {slowest}",
            is_of_many=True,
            digits=3,
        )


def _pages(client: httpx.Client, address: str, asked: dict[str, str], url: str) -> Iterator[tuple[str, float]]:
    """Seconds for the first page, and for one that begins nine tenths through the table where there is one."""
    for page in ("first", "far"):
        began = time.monotonic()
        answer = client.get(address, params=asked)
        yield page, time.monotonic() - began
        if answer.status_code != HTTPStatus.OK:
            raise click.ClickException(f"{answer.url} was answered {answer.status_code} after {ROW_SECONDS} s.")
        found = answer.json()
        # a page may have no rows of the number and go on
        if found["next"] is None or not found["rows"]:
            return
        asked = {**asked, "after": str(max(found["next"], _far(url, found["rows"][-1]["source"])))}


def _far(url: str, table: str) -> int:
    """An id nine tenths through the table."""
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(sql.SQL("SELECT max(id) * 9 / 10 FROM {}").format(sql.Identifier(table)))
        (number,) = cursor.fetchone() or (0,)
    return int(number)


def _keys(value: Any) -> list[str | None]:
    """No key, and of a breakdown its largest, its smallest, and the rest where there is one."""
    if not isinstance(value, dict):
        return [None]
    ordered = sorted((key for key in value if key != OTHERS), key=lambda key: value[key])
    return [None, *dict.fromkeys([*ordered[-1:], *ordered[:1]]), *(key for key in value if key == OTHERS)]


@cache
def _today(url: str) -> date:
    """The day after the school's last one."""
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT created_at FROM payments ORDER BY id DESC LIMIT 1")
        (last,) = cursor.fetchone() or (None,)
    return day_of(last, ZONE) + ONE_DAY


def _this_day() -> date:
    return day_of(datetime.now(UTC), ZONE)
