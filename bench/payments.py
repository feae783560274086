"""The part `payments`: events settled per second by one worker process, beside pgbench sending the same statements."""

import contextlib
import os
import re
import shutil
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
import psycopg2
from psycopg2 import sql

from bench import cores, webhooks
from bench.load import send
from bench.measures import Measure, Options, Show, alternate, percentile
from bench.running import NOUBA, Process, cpu_seconds, postgres, rabbitmq, run, running
from local.free_port import accepts, free_port
from local.installers.postgres import find_program
from local.postgres import Postgres
from services.webhook_gateway.integrity.hash_chain import HashChainWriter
from services.webhook_gateway.settings import GatewaySettings
from shared.runtime.database import build_engine

PART = "payments"
STUDENTS = 1000
STEADY_RATE = 200
_CONNECTIONS = 16
#: Events that were settled long ago, up to so many of them, with what settlement wrote.
_HISTORY = """
WITH missing AS (
    SELECT %(rows)s - count(*) AS number FROM webhook_events
), event AS (
    INSERT INTO webhook_events (provider, dedupe_key, state, body, body_sha256, received_at, processed_at)
    SELECT 'generic', gen_random_uuid()::text, 'applied', '', '', now(), now()
    FROM missing, generate_series(1, number)
    RETURNING id, dedupe_key
), payment AS (
    INSERT INTO payments (provider, provider_reference, user_id, amount_minor, status, credited_minor, completed_at)
    SELECT 'generic', dedupe_key, 1 + id %% %(students)s, 250000, 'completed', 250000, now() FROM event
    RETURNING id, user_id
), booked AS (
    INSERT INTO ledger_transactions (kind, payment_id) SELECT 'payment', id FROM payment RETURNING id, payment_id
), entries AS (
    INSERT INTO ledger_entries (transaction_id, account_id, amount_minor, currency)
    SELECT booked.id, account.id, CASE account.kind WHEN 'user_wallet' THEN 250000 ELSE -250000 END, 'DZD'
    FROM booked JOIN payment ON payment.id = booked.payment_id
    JOIN ledger_accounts AS account ON account.user_id = payment.user_id
        OR (account.kind = 'psp_clearing' AND account.provider = 'generic')
)
UPDATE users SET balance_minor = balance_minor + paid.amount_minor
FROM (SELECT user_id, 250000 * count(*) AS amount_minor FROM payment GROUP BY user_id) AS paid
WHERE users.id = paid.user_id
"""
#: A worker that starts checks ten minutes back for rows without a seal. The table refuses this to everybody else.
_SEALED_LONG_AGO = """
SET LOCAL session_replication_role = replica;
UPDATE seals SET sealed_at = now() - interval '1 day'
"""
_RIVALS = Path(__file__).parent / "rivals"
#: The system counts a process's CPU in these.
_TICK_SECONDS = 0.01
#: Events of one transaction in `settlement_of_32.sql`.
_TOGETHER = 32
#: Connections of pgbench: as many as a worker has threads.
_CLIENTS = GatewaySettings.model_fields["worker_threads"].default
_NOUBA = "nouba gateway worker, one process"
_ONE_BY_ONE, _SET_BASED = "pgbench, as many connections", f"pgbench, {_TOGETHER} events in a transaction"


def measure(options: Options, show: Show) -> Iterator[Measure]:
    """How many a second with work waiting, and how soon a balance changes without."""
    with contextlib.ExitStack() as stack:
        school = _School(options, stack)
        contenders: dict[str, Callable[[], float]] = {
            _NOUBA: partial(school.settle, workers=1, students=STUDENTS),
            _ONE_BY_ONE: school.pgbench,
            _SET_BASED: school.pgbench_set_based,
            "a Celery worker, statement by statement": school.celery,
            "two worker processes": partial(school.settle, workers=2, students=STUDENTS),
        }
        # connections, caches and the accounts of all students
        for contender in contenders.values():
            show("the first round does not count", 0, 1)
            contender()
        school.cpu_us.clear()
        found = alternate(options.rounds, contenders, show)
        goal = f"1.2 of pgbench, 0.5 of it with {_TOGETHER} events in a transaction, 3 times Celery"
        yield Measure(part=PART, name="events settled", unit="/s", samples=found, goal=goal, digits=0)
        costs = {who: list(school.cpu_us[who]) for who in (_NOUBA, _ONE_BY_ONE, _SET_BASED)}
        name = "CPU of an event settled, of all processes"
        yield Measure(part=PART, name=name, unit="µs", samples=costs, goal="at most 1,000 µs", digits=0)
        if cores.are_there(2):
            each = {
                "two workers and the servers on two cores": partial(school.settle_pinned, 2),
                "one worker and the servers on one core": partial(school.settle_pinned, 1),
            }
            found, goal = alternate(options.rounds, each, show), "1.8 times one"
            name = "events settled, with a core for each worker"
            yield Measure(part=PART, name=name, unit="/s", samples=found, goal=goal, digits=0)
        hot = alternate(options.rounds, {"all events of one user": partial(school.settle, workers=1, students=1)}, show)
        yield Measure(part=PART, name="events settled", unit="/s", samples=hot, goal="at least 2,000/s", digits=0)
        seconds = 1 if options.quick else 10
        steady = alternate(options.rounds, {"one worker process": partial(school.wait_for_balances, seconds)}, show)
        name = f"p99 from accept to balance at {STEADY_RATE}/s"
        yield Measure(part=PART, name=name, unit="ms", samples=steady, goal="at most 60 ms")
        memory = {"payments worker": [school.worker_mb]}
        yield Measure(part=PART, name="memory of a process", unit="MB", samples=memory, goal="at most 150 MB", digits=0)
        growth = {f"{rows:,} events kept before": [school.settle_after(rows)] for rows in _growth(options.quick)}
        goal = "every ratio about 1: the cost of an event does not grow"
        name, of = "events settled, with more and more of them kept", "events kept before"
        yield Measure(part=PART, name=name, unit="/s", samples=growth, goal=goal, digits=0, grows_with=of)


def _growth(quick: bool) -> tuple[int, ...]:
    first = 2_000 if quick else 10_000
    return first, 4 * first, 16 * first


class _School:
    """PostgreSQL, RabbitMQ, a gateway and students; a second database of the same students for pgbench.

    `stack` ends all of it.
    """

    def __init__(self, options: Options, stack: contextlib.ExitStack) -> None:
        self._folder = options.folder
        self._events = 200 if options.quick else 3000
        self._server = stack.enter_context(postgres(options.folder))
        broker = stack.enter_context(rabbitmq(options.folder))
        _fill(self._server.url)
        # more of them than of the others' would last as long
        self._batches = max(1, 4 * self._events // (_TOGETHER * _CLIENTS))
        turns = options.rounds + 1
        for rival, events in {
            "rival": self._events,
            "celery": self._events,
            "set_based": self._batches * _TOGETHER * _CLIENTS,
        }.items():
            _copy(self._server, rival, events * turns)
        self._broker_url = broker.url
        self._broker_pid = broker.pid
        #: What an event took of the CPU, of its worker, of PostgreSQL and of RabbitMQ: of each turn.
        self.cpu_us: dict[str, list[float]] = defaultdict(list)
        self._celery_done = 0
        #: Memory of a worker that has settled; of the largest.
        self.worker_mb = 0.0
        self._connection = stack.enter_context(contextlib.closing(psycopg2.connect(self._server.url)))
        self._connection.autocommit = True
        self._port = free_port()
        self._settings = {
            **webhooks.SETTINGS,
            "NOUBA_DATABASE_URL": self._server.url,
            "NOUBA_RABBITMQ_URL": broker.url,
            "NOUBA_GATEWAY_PORT": str(self._port),
        }
        log = options.folder / "gateway.log"
        self._gateway = stack.enter_context(running([NOUBA, "gateway", "serve"], self._settings, log))
        self._gateway.wait(partial(accepts, self._port), "does not listen")

    def settle(self, *, workers: int, students: int) -> float:
        """Events a second: all of them wait in the queue when the workers start."""
        last = self._last_event()
        send(self._port, webhooks.make(self._events, students), connections=_CONNECTIONS).require(200)
        self._gateway.wait(partial(webhooks.all_sent, self._server.url), "its outbox does not empty")
        with contextlib.ExitStack() as stack:
            hands = [stack.enter_context(self._worker()) for _ in range(workers)]
            began = "SELECT EXISTS (SELECT FROM webhook_events WHERE id > %s AND state <> 'received')"
            hands[0].wait(lambda: self._ask(began, last) == [True], "settles nothing")
            before = self._cpu_seconds(*hands)
            # without those that were settled while the processes were starting
            (left,) = self._ask("SELECT count(*) FROM webhook_events WHERE state = 'received'")
            self._wait_until_settled(hands[0])
            if workers == 1 and students == STUDENTS:
                seconds = max(_TICK_SECONDS, self._cpu_seconds(*hands) - before)
                self.cpu_us[_NOUBA].append(1e6 * seconds / max(1, left))
            self.worker_mb = max(self.worker_mb, hands[0].largest_mb)
        return _rate(self._ask("SELECT extract(epoch FROM processed_at) FROM webhook_events WHERE id > %s", last))

    def settle_pinned(self, workers: int) -> float:
        """The same where the workers, PostgreSQL, RabbitMQ and the gateway have as many cores as there are workers."""
        servers = [self._gateway.pid, *(pid for pid in (self._server.pid, self._broker_pid) if pid is not None)]
        with cores.pinned(workers, servers):
            return self.settle(workers=workers, students=STUDENTS)

    def celery(self) -> float:
        """The same of a Celery worker with as many threads, in a database of its own."""
        url, first = self._server.url_of("celery"), self._celery_done + 1
        self._celery_done += self._events
        settings = {"BENCH_RABBITMQ_URL": self._broker_url, "BENCH_DATABASE_URL": url}
        os.environ.update(settings)
        from bench.rivals.celery_settlement import app, settle

        with app.producer_pool.acquire() as producer:
            for event in range(first, first + self._events):
                settle.apply_async((event, event % STUDENTS + 1), producer=producer)
        threads = str(GatewaySettings.model_fields["worker_threads"].default)
        command = [sys.executable, "-m", "celery", "-A", "bench.rivals.celery_settlement", "worker"]
        command += ["--pool", "threads", "--concurrency", threads, "--without-gossip", "--without-mingle"]
        left = "SELECT EXISTS (SELECT FROM webhook_events WHERE state = 'received' AND id < %s)"
        folder = Path(__file__).parent.parent
        with contextlib.closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
            connection.autocommit = True

            def is_done() -> bool:
                cursor.execute(left, (first + self._events,))
                return cursor.fetchone() == (False,)

            with running(command, settings, self._folder / "celery.log", folder=folder) as worker:
                worker.wait(is_done, "events are left", 300)
            cursor.execute(
                "SELECT extract(epoch FROM processed_at) FROM webhook_events WHERE id BETWEEN %s AND %s",
                (first, first + self._events - 1),
            )
            return _rate([row[0] for row in cursor.fetchall()])

    def settle_after(self, rows: int) -> float:
        """Events settled a second where so many are kept, with their payments and bookings."""
        with contextlib.closing(psycopg2.connect(self._server.url)) as connection, connection.cursor() as cursor:
            cursor.execute(_HISTORY, {"rows": rows, "students": STUDENTS})
            connection.commit()
            _seal(self._server.url)
            cursor.execute(_SEALED_LONG_AGO)
            connection.commit()
            connection.autocommit = True
            cursor.execute("VACUUM ANALYZE")
            cursor.execute("CHECKPOINT")
        return self.settle(workers=1, students=STUDENTS)

    def wait_for_balances(self, seconds: int) -> float:
        """The 99th percentile of milliseconds from an event's row to its balance, with a worker that has time.

        What comes while the worker starts is not counted: it waits for the start, which is another question.
        """
        with self._worker() as worker:
            for part in (1, seconds):
                last = self._last_event()
                requests = webhooks.make(STEADY_RATE * part, STUDENTS)
                send(self._port, requests, connections=_CONNECTIONS, rate=STEADY_RATE).require(200)
                self._wait_until_settled(worker)
        taken = "SELECT 1000 * extract(epoch FROM processed_at - received_at) FROM webhook_events WHERE id > %s"
        return percentile([float(one) for one in self._ask(taken, last)], 0.99)

    def pgbench(self) -> float:
        """Events settled a second by the same statements, prepared."""
        return self._pgbench(_ONE_BY_ONE, "settlement.sql", "rival", self._events // _CLIENTS, 1)

    def pgbench_set_based(self) -> float:
        """The same by transactions of many events."""
        return self._pgbench(_SET_BASED, f"settlement_of_{_TOGETHER}.sql", "set_based", self._batches, _TOGETHER)

    def _pgbench(self, who: str, script: str, database: str, transactions: int, events: int) -> float:
        """Events settled a second by `transactions` of each client, each of so many events."""
        command = [_pgbench(), "--no-vacuum", "--protocol=prepared", f"--file={_RIVALS / script}"]
        command += [f"--define=students={STUDENTS}", f"--client={_CLIENTS}", "--jobs=2"]
        command += [f"--transactions={transactions}", self._server.url_of(database)]
        before = self._cpu_seconds()
        cost = run(command, {})
        found = re.search(r"tps = ([\d.]+)", cost.output)
        if found is None:
            raise click.ClickException(f"pgbench printed no rate: {cost.output[-2000:]}")
        seconds = max(_TICK_SECONDS, self._cpu_seconds() - before + cost.cpu_seconds)
        self.cpu_us[who].append(1e6 * seconds / (transactions * _CLIENTS * events))
        return float(found[1]) * events

    def _cpu_seconds(self, *processes: Process) -> float:
        """Of these, PostgreSQL and RabbitMQ, up to now."""
        servers = (pid for pid in (self._server.pid, self._broker_pid) if pid is not None)
        return cpu_seconds(*servers, *(one.pid for one in processes))

    def _worker(self) -> contextlib.AbstractContextManager[Process]:
        return running([NOUBA, "gateway", "worker"], self._settings, self._folder / "worker.log")

    def _wait_until_settled(self, worker: Process) -> None:
        # what asks takes of the processors that are measured: so for one row, and not for the number of all
        waiting = "SELECT EXISTS (SELECT FROM webhook_events WHERE state = 'received')"
        worker.wait(lambda: self._ask(waiting) == [False], "events are left", 300)
        (others,) = self._ask("SELECT count(*) FROM webhook_events WHERE state <> 'applied'")
        if others:
            raise click.ClickException(f"{others} events were not applied; see `reason` in webhook_events.")

    def _last_event(self) -> int:
        return int(self._ask("SELECT coalesce(max(id), 0) FROM webhook_events")[0])

    def _ask(self, query: str, *values: object) -> Sequence[Any]:
        with self._connection.cursor() as cursor:
            cursor.execute(query, values)
            return [row[0] for row in cursor.fetchall()]


def _rate(at: Sequence[Any]) -> float:
    """Events a second, from the first tenth of them to the last: until then, the processes may still be starting."""
    ordered = sorted(at)
    first = len(ordered) // 10
    return (len(ordered) - first - 1) / float(ordered[-1] - ordered[first])


def _fill(url: str) -> None:
    with contextlib.closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO users (name) SELECT 'student' FROM generate_series(1, %s)", (STUDENTS,))
        cursor.execute("INSERT INTO ledger_accounts (kind, user_id) SELECT 'user_wallet', id FROM users")
        cursor.execute("INSERT INTO ledger_accounts (kind, provider) VALUES ('psp_clearing', 'generic')")
        connection.commit()


def _seal(url: str) -> None:
    """Seal all rows, as the watch of a worker would: else it did so during the measurement."""
    engine = build_engine(url, pool_size=1, application="nouba bench")
    with contextlib.closing(engine.connect()) as connection:
        sealer = HashChainWriter(connection)
        while sealer.seal():
            pass
    engine.dispose()


def _copy(server: Postgres, name: str, events: int) -> None:
    """A database with so many events that wait, of the same students."""
    with contextlib.closing(psycopg2.connect(server.url_of("postgres"))) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(sql.SQL("CREATE DATABASE {} TEMPLATE nouba").format(sql.Identifier(name)))
    with contextlib.closing(psycopg2.connect(server.url_of(name))) as connection, connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO webhook_events (provider, dedupe_key, state, body, body_sha256) "
            "SELECT 'generic', n::text, 'received', convert_to(repeat('x', %s), 'UTF8'), ''"
            "FROM generate_series(1, %s) AS n",
            (webhooks.BODY_BYTES, events),
        )
        cursor.execute("CREATE SEQUENCE bench_event")
        connection.commit()


def _pgbench() -> str:
    beside = find_program(Path("no data")) / "bin" / "pgbench"
    found = str(beside) if beside.exists() else shutil.which("pgbench")
    if found is None:
        raise click.ClickException("There is no pgbench: install PostgreSQL's server package, which has it.")
    return found
