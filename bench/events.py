"""The part `events`: how long an event takes to healthy endpoints, while others fail in five different ways."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import psycopg2

from bench.measures import Measure, Options, Show, percentile
from bench.receivers import FAULTS, Receiver
from bench.running import NOUBA, Process, postgres, rabbitmq, running
from shared.operations.webhook_endpoints.endpoints import Endpoints
from shared.runtime.database import build_engine

PART = "events"
HEALTHY = 15
EVENTS, EVENTS_PER_SECOND = 100_000, 100
#: Each event is of one type, and each type has as many healthy endpoints, and one that fails.
TYPES = ("payment.completed", "payment.refunded", "subscription.activated", "lesson.ready", "wallet.changed")
#: A batch of events is recorded at once, as payments that are settled together are.
_BATCHES_PER_SECOND = 20
_WHO = "nouba gateway events-worker, five endpoints fail"


def measure(options: Options, show: Show) -> Iterator[Measure]:
    """One run: a steady rate of events, then the failing endpoints recover, and get what they missed."""
    events = 200 if options.quick else EVENTS
    # an attempt at an endpoint that says nothing lasts so long
    settings = {"NOUBA_EVENTS_TIMEOUT_SECONDS": "1"} if options.quick else {}
    show("starting the servers", 0, 1)
    with contextlib.ExitStack() as stack:
        run = _Run(options.folder, stack, settings)
        run.record(EVENTS_PER_SECOND // 2)
        run.wait_for_healthy("the first events do not arrive")
        for receiver in run.healthy:
            receiver.delays.clear()
        before_mb = run.worker.largest_mb
        largest_mb = run.play(events, show)
        delays = [delay for receiver in run.healthy for delay in receiver.delays.values()]
        show("the failing ones recover", events, events)
        per_second = run.recover()
        run.require_all()
    name = f"delay of an event at {EVENTS_PER_SECOND}/s to {HEALTHY} of {HEALTHY + len(FAULTS)} endpoints"
    goal = "at most 2 s"
    yield Measure(part=PART, name=f"p99 {name}", unit="s", samples={_WHO: [percentile(delays, 0.99)]}, goal=goal)
    yield Measure(part=PART, name=f"p50 {name}", unit="s", samples={_WHO: [percentile(delays, 0.5)]})
    name = "deliveries after the five have recovered"
    yield Measure(part=PART, name=name, unit="/s", samples={"nouba gateway events-worker": [per_second]}, digits=0)
    memory = {"events worker, at most": [largest_mb], "events worker, when it was warm": [before_mb]}
    yield Measure(part=PART, name="memory of a process", unit="MB", samples=memory, goal="at most 150 MB", digits=0)


class _Run:
    """Servers, the events worker and its endpoints; `stack` ends them."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack, settings: dict[str, str]) -> None:
        self._database_url = stack.enter_context(postgres(folder)).url
        broker = stack.enter_context(rabbitmq(folder))
        self.healthy = [stack.enter_context(Receiver.open()) for _ in range(HEALTHY)]
        self.failing = [stack.enter_context(Receiver.open(fault)) for fault in FAULTS]
        self._types = dict[int, str]()
        self._numbers = dict[str, set[str]]({kind: set() for kind in TYPES})
        self._connection = stack.enter_context(contextlib.closing(psycopg2.connect(self._database_url)))
        self._connection.autocommit = True
        engine = build_engine(self._database_url, application="nouba bench")
        endpoints = Endpoints(engine, allow_private=True)
        for place, receiver in enumerate([*self.healthy, *self.failing]):
            kind = TYPES[place % len(TYPES)]
            endpoints.add(receiver.url, [kind], None, ordered=False, who="bench")
            self._types[receiver.port] = kind
        engine.dispose()
        settings = {
            "NOUBA_DATABASE_URL": self._database_url,
            "NOUBA_RABBITMQ_URL": broker.url,
            "NOUBA_EVENTS_ALLOW_PRIVATE": "true",
            **settings,
        }
        self.worker: Process = stack.enter_context(
            running([NOUBA, "gateway", "events-worker"], settings, folder / "events.log")
        )
        self.worker.wait(lambda: "worker started" in self.worker.log, "it does not start")

    def play(self, events: int, show: Show) -> float:
        """Record events at the steady rate, and wait for the healthy endpoints; returns the most memory seen, in MB."""
        size = EVENTS_PER_SECOND // _BATCHES_PER_SECOND
        began, largest = time.monotonic(), self.worker.largest_mb
        for done in range(0, events, size):
            time.sleep(max(0.0, began + done / EVENTS_PER_SECOND - time.monotonic()))
            self.record(size)
            if done % (EVENTS_PER_SECOND * 5) < size:
                largest = max(largest, self.worker.largest_mb)
                show("events at the steady rate", done, events)
        self.wait_for_healthy("events do not arrive")
        return max(largest, self.worker.largest_mb)

    def record(self, count: int) -> None:
        """Record events of all types in turn, as a trigger does."""
        rows = self._rows(
            "INSERT INTO events (type, key, payload) SELECT (%(types)s::text[])[1 + number %% 5], number,"
            " jsonb_build_object('payment_id', number, 'provider', 'chargily', 'reference', md5(number::text),"
            " 'user_id', number %% 1000, 'status', 'completed', 'amount_minor', 250000, 'currency', 'DZD')"
            " FROM generate_series(1, %(count)s) AS number RETURNING type, 'evt_' || id",
            types=list(TYPES),
            count=count,
        )
        for kind, number in rows:
            self._numbers[kind].add(number)

    def wait_for_healthy(self, what: str) -> None:
        healthy = [receiver.port for receiver in self.healthy]
        query = """
            SELECT NOT EXISTS (SELECT FROM events WHERE fanned_out_at IS NULL) AND NOT EXISTS (
                SELECT FROM webhook_deliveries JOIN webhook_endpoints ON webhook_endpoints.id = endpoint_id
                WHERE state = 'pending' AND substring(url FROM ':([0-9]+)/')::int = ANY(%(ports)s))
        """
        self.worker.wait(lambda: self._rows(query, ports=healthy)[0][0], what, timeout_seconds=120)

    def recover(self) -> float:
        """Let the failing endpoints take what they missed; returns deliveries in a second."""
        for receiver in self.failing:
            receiver.recover()
        ((missed,),) = self._rows("SELECT count(*) FROM webhook_deliveries WHERE state = 'pending'")
        began = time.monotonic()
        # `nouba endpoints enable`, and no wait for the next retry
        self._rows("UPDATE webhook_deliveries SET due_at = now() WHERE state = 'pending' RETURNING 1")
        self._rows(
            "UPDATE webhook_endpoints SET failures = 0, failing_since_at = NULL, held_until_at = NULL RETURNING 1"
        )
        query = "SELECT NOT EXISTS (SELECT FROM webhook_deliveries WHERE state = 'pending')"
        longest = 120 + missed / 50
        self.worker.wait(lambda: self._rows(query)[0][0], "what was missed does not arrive", timeout_seconds=longest)
        return float(missed) / (time.monotonic() - began)

    def require_all(self) -> None:
        """Raises ClickException where an endpoint misses an event of its type, or has another."""
        for receiver in self.failing:
            if set(receiver.delays) != self._numbers[self._types[receiver.port]]:
                raise click.ClickException(f"An endpoint that had failed got {len(receiver.delays)} events, not all.")
            if not receiver.requests:
                raise click.ClickException("An endpoint was meant to fail, and nothing was tried.")
        warm = EVENTS_PER_SECOND // 2 // len(TYPES)
        for receiver in self.healthy:
            expected = len(self._numbers[self._types[receiver.port]]) - warm
            if len(receiver.delays) != expected:
                raise click.ClickException(f"An endpoint got {len(receiver.delays)} of {expected} events.")

    def _rows(self, statement: str, **values: object) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(statement, values)
            return list(cursor.fetchall())
