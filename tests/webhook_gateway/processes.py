"""The gateway as it runs: real processes, with the settings of a test, and what they reported to the log."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Self

import httpx
import psycopg2

from local.free_port import free_port
from local.postgres import Postgres
from local.psp.signed_webhooks import Delivery, Payment, signed
from tests.waiting import wait_until

#: Nobody listens there: RabbitMQ is away.
NO_RABBITMQ: Final = "amqp://nobody:nothing@127.0.0.1:1/"

SECRETS: Final = {
    "chargily": "test_sk_gateway_tests",
    "standard_webhooks": "whsec_Z2F0ZXdheS10ZXN0cy1zZWNyZXQ=",
    "stripe": "whsec_gateway_tests",
    "generic": "generic-gateway-tests",
}
SETTINGS: Final = {
    # the simulator describes test payments
    "NOUBA_PAYMENTS_MODE": "test",
    **{f"NOUBA_PSP_{name.upper()}_SECRETS": secret for name, secret in SECRETS.items()},
    "NOUBA_PSP_SATIM_USERNAME": "school",
    "NOUBA_PSP_SATIM_PASSWORD": "bank-password",
    "NOUBA_PSP_SATIM_RETURN_URL": "https://school.example/paid",
}
NOUBA: Final = Path(sys.executable).with_name("nouba")


class Running:
    """One `nouba` command in a process group of its own."""

    def __init__(self, arguments: list[str], log: Path, settings: dict[str, str]) -> None:
        self._log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [NOUBA, *arguments],
                env={**{name: value for name, value in os.environ.items() if "NOUBA_" not in name}, **settings},
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def ready_when(self, condition: Callable[[], bool]) -> None:
        """Wait for it; what does not become ready does not stay either."""
        try:
            wait_until(condition, 30, "the process did not become ready")
        except BaseException:
            self.kill()
            raise

    @property
    def log(self) -> str:
        """All that it has written to standard output and error."""
        return self._log.read_text()

    def stop(self, grace_seconds: float = 30) -> int:
        """SIGTERM to its first process, as a supervisor does; returns the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(grace_seconds)

    def kill(self) -> None:
        """SIGKILL to all of its processes at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)


class RunningGateway(Running):
    """`nouba gateway serve`, ready to take webhooks."""

    def __init__(self, log: Path, database_url: str, rabbitmq_url: str = NO_RABBITMQ, **settings: str | None) -> None:
        self.port = int(settings.get("NOUBA_GATEWAY_PORT") or free_port())
        metrics_port = int(settings.get("NOUBA_METRICS_PORT") or free_port())
        self.url = f"http://127.0.0.1:{self.port}"
        self.metrics_url = f"http://127.0.0.1:{metrics_port}/metrics"
        all_settings = {
            **SETTINGS,
            "NOUBA_DATABASE_URL": database_url,
            "NOUBA_RABBITMQ_URL": rabbitmq_url,
            "NOUBA_GATEWAY_PORT": str(self.port),
            "NOUBA_METRICS_PORT": str(metrics_port),
            **settings,
        }
        given = {name: value for name, value in all_settings.items() if value is not None}
        super().__init__(["gateway", "serve"], log, given)
        self.ready_when(self._answers)

    @property
    def children(self) -> list[int]:
        """The ids of gunicorn's processes below the first."""
        return [int(pid) for pid in re.findall(r"Booting worker with pid: (\d+)", self.log) if _runs(int(pid))]

    def connect(self) -> socket.socket:
        """A socket, for what no HTTP client would send."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def metric(self, sample: str) -> float:
        """The value of one sample, such as `name{label="value"}`; 0 where it is not shown."""
        found = re.search(f"^{re.escape(sample)} (.+)$", httpx.get(self.metrics_url).text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    def verdicts(self, verdict: str, provider: str = "generic") -> float:
        return self.metric(f'nouba_gateway_requests_total{{provider="{provider}",verdict="{verdict}"}}')

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log
        # a killed predecessor's processes may still answer on the same port
        with contextlib.suppress(httpx.TransportError):
            return "Booting worker" in self.log and httpx.get(f"{self.url}/healthz").status_code == 200
        return False


class RunningWorker(Running):
    """`nouba gateway worker`, taking messages."""

    def __init__(self, log: Path, database_url: str, rabbitmq_url: str, **settings: str) -> None:
        metrics_port = free_port()
        self.metrics_url = f"http://127.0.0.1:{metrics_port}/metrics"
        given = {
            **SETTINGS,
            "NOUBA_DATABASE_URL": database_url,
            "NOUBA_RABBITMQ_URL": rabbitmq_url,
            "NOUBA_METRICS_PORT": str(metrics_port),
            **settings,
        }
        super().__init__(["gateway", "worker"], log, given)
        self.ready_when(lambda: "worker started" in self.log)


class Database:
    """What the gateway keeps."""

    def __init__(self, url: str) -> None:
        self.url = url

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with contextlib.closing(psycopg2.connect(self.url)) as connection, connection.cursor() as cursor:
            cursor.execute(query, values)
            return [tuple(bytes(v) if isinstance(v, memoryview) else v for v in row) for row in cursor.fetchall()]

    def execute(self, statement: str, *values: object) -> None:
        with contextlib.closing(psycopg2.connect(self.url)) as connection:
            connection.autocommit = True
            connection.cursor().execute(statement, values)

    def events(self) -> list[tuple[Any, ...]]:
        """(id, dedupe_key, state, body) of every event, oldest first."""
        return self.rows("SELECT id, dedupe_key, state, body FROM webhook_events ORDER BY id")

    def counts(self) -> dict[str, int]:
        """How many rows each table of the gateway has."""
        tables = ("webhook_events", "outbox", "payments", "ledger_transactions", "ledger_entries")
        return {table: self.rows(f"SELECT count(*) FROM {table}")[0][0] for table in tables}  # noqa: S608

    @contextlib.contextmanager
    def unchanged(self) -> Iterator[None]:
        """Nothing is kept meanwhile."""
        before = self.counts()
        yield
        assert self.counts() == before


@contextlib.contextmanager
def new_database(server: Postgres) -> Iterator[Database]:
    """A migrated database for a whole module of tests; `server` is the fixture `migrated_server`."""
    name = f"gateway_{uuid.uuid4().hex[:12]}"
    with contextlib.closing(psycopg2.connect(server.url_of("postgres"))) as connection:
        connection.autocommit = True
        connection.cursor().execute(f"CREATE DATABASE {name} TEMPLATE migrated")
        yield Database(server.url_of(name))
        connection.cursor().execute(f"DROP DATABASE {name} WITH (FORCE)")


def paid(provider: str = "generic", **fields: Any) -> Delivery:
    """A genuine request, new at every call, that describes a paid payment."""
    payment = Payment(**{"reference": f"pi_{uuid.uuid4().hex}", "amount_minor": 250_000, **fields})
    return signed(provider, [SECRETS[provider]], payment)


def deliver(client: httpx.Client, delivery: Delivery) -> httpx.Response:
    return client.request(delivery.method, delivery.path, headers=dict(delivery.headers), content=delivery.body)


def head(delivery: Delivery, *more: str, method: str = "POST") -> bytes:
    """The head of the request as bytes for a socket; `more` are header lines."""
    lines = [f"{method} {delivery.path} HTTP/1.1", "Host: gateway", *more]
    lines += [f"{name}: {value}" for name, value in delivery.headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def read_answer(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """(status, headers, body) of the next answer on the socket."""
    received = b""
    while b"\r\n\r\n" not in received:
        piece = connection.recv(4096)
        assert piece, f"the connection ended after {received!r}"
        received += piece
    top, _, body = received.partition(b"\r\n\r\n")
    first, *lines = top.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    while len(body) < int(headers["content-length"]):
        body += connection.recv(4096)
    return int(first.split()[1]), headers, body


def is_closed(connection: socket.socket, within_seconds: float = 5) -> bool:
    """Whether the other side closes the connection soon."""
    deadline = time.monotonic() + within_seconds
    while time.monotonic() < deadline:
        connection.settimeout(max(0.01, deadline - time.monotonic()))
        try:
            if not connection.recv(65536):
                return True
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False
    return False


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
