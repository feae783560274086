"""The part `gateway`: webhooks kept per second beside routes that keep nothing, or only send a message."""

import contextlib
import sys
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import click
import psycopg2

from bench import webhooks
from bench.load import send
from bench.measures import Measure, Options, Show, alternate
from bench.running import NOUBA, cpu_seconds, postgres, rabbitmq, running
from local.free_port import accepts, free_port
from services.webhook_gateway.settings import GatewaySettings

PART = "gateway"
CONNECTIONS = 16
STEADY_RATE = 300
#: Requests to each server before anything is measured.
WARMING = 100
_PROJECT = Path(__file__).parent.parent
_NOUBA = "nouba gateway serve"
_RIVALS = {
    "the bare route, keeping nothing": "bare_gateway",
    "Flask and celery.send_task": "celery_gateway",
    "Flask and dramatiq.send": "dramatiq_gateway",
}


def measure(options: Options, show: Show) -> Iterator[Measure]:
    """All four servers run throughout and are asked in turn; those that are not asked only wait."""
    if find_spec("celery") is None:
        raise click.ClickException("The part gateway is measured beside Celery: pip install celery")
    count, steady_seconds = (200, 1) if options.quick else (6000, 10)
    show("starting the servers", 0, 1)
    with contextlib.ExitStack() as stack:
        servers = _Servers(options.folder, stack)
        contenders = {who: partial(servers.flood, who, count) for who in servers.ports}
        found = alternate(options.rounds, contenders, show)
        goal = "0.7 of the bare route, 3 times Celery, 2.3 times dramatiq"
        name = f"webhooks answered, {CONNECTIONS} connections, 1 KiB"
        yield Measure(part=PART, name=name, unit="/s", samples=found, goal=goal, digits=0)
        name = "CPU of a webhook answered and published, of all processes"
        yield Measure(part=PART, name=name, unit="µs", samples=servers.cpu_us, goal="at most 450 µs", digits=0)
        steady = alternate(options.rounds, {_NOUBA: partial(servers.answer_p99_ms, steady_seconds)}, show)
        servers.require_kept(WARMING + options.rounds * (count + STEADY_RATE * steady_seconds))
        name = f"p99 of an answer at {STEADY_RATE}/s"
        yield Measure(part=PART, name=name, unit="ms", samples=steady, goal="at most 15 ms")
        memory = {_NOUBA: [servers.largest_mb]}
        yield Measure(part=PART, name="memory of a process", unit="MB", samples=memory, goal="at most 120 MB", digits=0)


class _Servers:
    """The gateway and its rivals, each on a port of its own, warm; `stack` ends them."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        database = stack.enter_context(postgres(folder))
        self._database_url = database.url
        broker = stack.enter_context(rabbitmq(folder))
        self.ports = {who: free_port() for who in (_NOUBA, *_RIVALS)}
        self._pids: dict[str, list[int]] = {}
        #: Of each flood, what a request took of the CPU: of its server, of PostgreSQL and of RabbitMQ.
        self.cpu_us: dict[str, list[float]] = {who: [] for who in self.ports}
        settings = {
            **webhooks.SETTINGS,
            "NOUBA_DATABASE_URL": self._database_url,
            "NOUBA_RABBITMQ_URL": broker.url,
            "NOUBA_GATEWAY_PORT": str(self.ports[_NOUBA]),
        }
        self._gateway = stack.enter_context(running([NOUBA, "gateway", "serve"], settings, folder / "gateway.log"))
        serving = [self._gateway]
        for who, module in _RIVALS.items():
            command, settings = _gunicorn(module, self.ports[who]), {"BENCH_RABBITMQ_URL": broker.url}
            serving.append(stack.enter_context(running(command, settings, folder / f"{module}.log", folder=_PROJECT)))
        for process, (who, port) in zip(serving, self.ports.items(), strict=True):
            process.wait(partial(accepts, port), "does not listen")
            self._pids[who] = [process.pid, *(pid for pid in (database.pid, broker.pid) if pid is not None)]
            # connections to database and broker are opened by the first requests
            send(port, webhooks.make(WARMING), connections=CONNECTIONS).require(200)

    @property
    def largest_mb(self) -> float:
        """Memory of the gateway's largest process."""
        return self._gateway.largest_mb

    def flood(self, who: str, count: int) -> float:
        """Requests answered in a second."""
        requests, before = webhooks.make(count), cpu_seconds(*self._pids[who])
        outcome = send(self.ports[who], requests, connections=CONNECTIONS).require(200)
        # the gateway's outbox must not be published during a rival's turn
        self._gateway.wait(partial(webhooks.all_sent, self._database_url), "its outbox does not empty")
        self.cpu_us[who].append(1e6 * (cpu_seconds(*self._pids[who]) - before) / count)
        return outcome.per_second

    def answer_p99_ms(self, seconds: int) -> float:
        """How long the slowest hundredth of answers takes, at the steady rate."""
        requests = webhooks.make(STEADY_RATE * seconds)
        outcome = send(self.ports[_NOUBA], requests, connections=CONNECTIONS, rate=STEADY_RATE)
        return outcome.require(200).percentile_ms(0.99)

    def require_kept(self, expected: int) -> None:
        """Raises ClickException where fewer webhooks are kept than were answered 200."""
        with contextlib.closing(psycopg2.connect(self._database_url)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM webhook_events")
            (kept,) = cursor.fetchone() or (0,)
        if kept != expected:
            raise click.ClickException(f"{expected} webhooks were answered 200, and {kept} are kept.")


def _gunicorn(module: str, port: int) -> list[str]:
    """The rival's server with as many processes and threads as the gateway has."""
    ours = GatewaySettings.model_fields
    return [
        *(sys.executable, "-m", "gunicorn", f"bench.rivals.{module}:app", "--bind", f"127.0.0.1:{port}"),
        *("--worker-class", "gthread", "--keep-alive", "30", "--backlog", "1024", "--no-control-socket"),
        *("--workers", str(ours["gateway_processes"].default), "--threads", str(ours["gateway_threads"].default)),
    ]
