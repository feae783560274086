"""The part `soak`: a million webhooks at the highest rate at which answers stay quick, and what grows meanwhile."""

import contextlib
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import click
import psutil
import psycopg2

from bench import webhooks
from bench.load import Outcome, send
from bench.measures import Measure, Options, Show
from bench.running import NOUBA, postgres, rabbitmq, running
from local.free_port import accepts, free_port

PART = "soak"
EVENTS, STUDENTS, CONNECTIONS = 1_000_000, 1000, 16
P99_MS = 100.0
#: The rate is sought in steps of so many a second; at each, webhooks are sent for so long.
_STEP, _TRIAL_SECONDS = 100, 20
#: What is left to settle after a trial takes no longer, where settlement keeps up: a backlog that grows by a tenth of
#: the rate is twice as long.
_LAG_SECONDS = 0.5
#: Of the highest rate that held for a trial: what is held for an hour meets checkpoints and vacuums as well.
_SHARE = 0.9
_WHO = "nouba gateway serve and one worker"
#: Rows of these are updated or deleted again and again, so that only VACUUM keeps them small.
_BUSY_TABLES = ("users", "outbox")


@dataclass(frozen=True, slots=True)
class Sample:
    """Sizes after a part of the run, in MB."""

    gateway: float
    worker: float
    rabbitmq: float
    database: float
    tables: dict[str, float]


def measure(options: Options, show: Show) -> Iterator[Measure]:
    """Seek the rate, send all at it part by part, and compare with the ledger.

    Raises ClickException where an event is lost or booked twice.
    """
    events = 2_000 if options.quick else int(EVENTS * (options.scale or 1))
    parts = 10 if options.quick else 50
    with contextlib.ExitStack() as stack:
        show("starting the servers", 0, 1)
        run = _Run(options, stack)
        rate = _STEP if options.quick else run.seek_rate(show)
        first = run.last_event()
        outcomes, samples = list[Outcome](), [run.sample()]
        for part in range(parts):
            show(f"{events:,} webhooks at {rate:.0f}/s", part * events // parts, events)
            outcomes.append(run.send(events // parts, rate))
            samples.append(run.sample())
        run.settle_rest()
        run.require_exactly_once()
        delays = run.settled_p99_ms(first, events // parts)
    held = sum(one.per_second for one in outcomes) / parts
    yield Measure(part=PART, name=f"webhooks sent: {events:,}", unit="/s", samples={_WHO: [held]}, digits=0)
    name, goal = "p99 of an answer, in each of {} parts", f"at most {P99_MS:.0f} ms"
    answers = [one.percentile_ms(0.99) for one in outcomes]
    yield _of_parts(name.format(parts), "ms", answers, goal)
    yield _of_parts(f"p99 from accept to balance, in each of {parts} parts", "ms", delays)
    tenth = parts // 10
    flat = "no more than 1.1 of what it was after a tenth"
    early, late = samples[tenth], samples[-1]
    for what in ("gateway", "worker", "rabbitmq"):
        yield _growth(f"memory of {what}", getattr(late, what), getattr(early, what), flat)
    for table in _BUSY_TABLES:
        yield _growth(f"size of the table {table}", late.tables[table], early.tables[table], flat)
    each = {
        "the last tenth": [_kept_kib(samples[-1 - tenth], late, events)],
        "the second tenth": [_kept_kib(early, samples[2 * tenth], events)],
    }
    name = "size of the database, for each event more"
    yield Measure(part=PART, name=name, unit="KiB", samples=each, goal="a ratio of about 1: it grows linearly")


def _of_parts(name: str, unit: str, found: Sequence[float], goal: str = "") -> Measure:
    return Measure(part=PART, name=name, unit=unit, samples={_WHO: found}, goal=goal, is_of_many=True, digits=1)


def _growth(name: str, late: float, early: float, goal: str) -> Measure:
    samples = {"at the end": [late], "after a tenth": [early]}
    return Measure(part=PART, name=name, unit="MB", samples=samples, goal=goal, digits=1)


def _kept_kib(before: Sample, after: Sample, events: int) -> float:
    """What the database grew by for each event, in a tenth of them."""
    return (after.database - before.database) * 1024 * 10 / events


class _Run:
    """Servers, a gateway, a worker and students; `stack` ends them."""

    def __init__(self, options: Options, stack: contextlib.ExitStack) -> None:
        url = stack.enter_context(postgres(options.folder)).url
        broker = stack.enter_context(rabbitmq(options.folder))
        self._connection = stack.enter_context(contextlib.closing(psycopg2.connect(url)))
        self._connection.autocommit = True
        self._rows("INSERT INTO users (name) SELECT 'student' FROM generate_series(1, %s) RETURNING 1", STUDENTS)
        self._broker_pid, self._port = broker.pid, free_port()
        #: How many webhooks were sent, by user.
        self._sent = Counter[int]()
        settings = {
            **webhooks.SETTINGS,
            "NOUBA_DATABASE_URL": url,
            "NOUBA_RABBITMQ_URL": broker.url,
            "NOUBA_GATEWAY_PORT": str(self._port),
        }
        log = options.folder / "gateway.log"
        self._gateway = stack.enter_context(running([NOUBA, "gateway", "serve"], settings, log))
        log = options.folder / "worker.log"
        self._worker = stack.enter_context(running([NOUBA, "gateway", "worker"], settings, log))
        self._gateway.wait(partial(accepts, self._port), "does not listen")
        # what waits for their start is another question
        self.send(100, None)
        self.settle_rest()

    def seek_rate(self, show: Show) -> float:
        """Webhooks a second: a part of the highest rate at which answers are quick and settlement keeps up."""
        rate = 0
        while True:
            show(f"a trial at {rate + _STEP}/s", 0, 1)
            quick = self.send((rate + _STEP) * _TRIAL_SECONDS, rate + _STEP).percentile_ms(0.99) <= P99_MS
            if self.settle_rest() > _LAG_SECONDS or not quick:
                break
            rate += _STEP
        if not rate:
            raise click.ClickException(f"Not even {_STEP} webhooks/s are answered in {P99_MS:.0f} ms and settled.")
        return _SHARE * rate

    def send(self, count: int, rate: float | None) -> Outcome:
        """Send so many, each once, for all students in turn."""
        requests = webhooks.make(count, STUDENTS)
        self._sent.update(number % STUDENTS + 1 for number in range(count))
        return send(self._port, requests, connections=CONNECTIONS, rate=rate).require(200)

    def settle_rest(self) -> float:
        """Wait until every event is settled; returns for how many seconds."""
        began = time.monotonic()
        left = "SELECT EXISTS (SELECT FROM webhook_events WHERE state = 'received')"
        self._worker.wait(lambda: self._rows(left) == [(False,)], "events are left", 600)
        return time.monotonic() - began

    def last_event(self) -> int:
        return int(self._rows("SELECT coalesce(max(id), 0) FROM webhook_events")[0][0])

    def settled_p99_ms(self, first: int, count: int) -> list[float]:
        """The 99th percentile from accept to balance, of each `count` events after the event `first`."""
        found = self._rows(
            "SELECT percentile_cont(0.99) WITHIN GROUP (ORDER BY 1000 * extract(epoch FROM processed_at - received_at))"
            " FROM (SELECT processed_at, received_at, (row_number() OVER (ORDER BY id) - 1) / %s AS part"
            "       FROM webhook_events WHERE id > %s) AS event GROUP BY part ORDER BY part",
            count,
            first,
        )
        return [float(row[0]) for row in found]

    def sample(self) -> Sample:
        tables = self._rows(
            "SELECT name, pg_total_relation_size(name::regclass) / 2 ^ 20 FROM unnest(%s) AS name", list(_BUSY_TABLES)
        )
        broker = psutil.Process(self._broker_pid)
        ((database,),) = self._rows("SELECT pg_database_size(current_database()) / 2 ^ 20")
        return Sample(
            gateway=self._gateway.largest_mb,
            worker=self._worker.largest_mb,
            rabbitmq=max(one.memory_info().rss for one in (broker, *broker.children(recursive=True))) / 2**20,
            database=database,
            tables=dict(tables),
        )

    def require_exactly_once(self) -> None:
        """Raises ClickException where what was sent is not what is booked: each event once, for its student."""
        ((kept, booked, applied),) = self._rows(
            "SELECT count(*), (SELECT count(DISTINCT provider_reference) FROM payments WHERE status = 'completed'),"
            " count(*) FILTER (WHERE state = 'applied') FROM webhook_events"
        )
        balances = dict(self._rows("SELECT id, balance_minor / %s FROM users", webhooks.AMOUNT_MINOR))
        sent, wrong = self._sent.total(), sum(balances[user] != count for user, count in self._sent.items())
        if (kept, booked, applied) != (sent, sent, sent) or wrong:
            raise click.ClickException(
                f"{sent} webhooks were sent: {kept} are kept, {applied} applied, {booked} payments booked, and "
                f"{wrong} wallets do not have what was paid."
            )

    def _rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(query, values)
            return list(cursor.fetchall())
