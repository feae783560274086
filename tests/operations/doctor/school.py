"""A school in which nothing is wrong, for one fault at a time to be put into."""

import contextlib
import json
import os
import socketserver
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from zoneinfo import ZoneInfo

import pika
import psycopg2
from click.testing import CliRunner
from pika.adapters.blocking_connection import BlockingChannel

from local.s3 import BUCKET, S3
from shared.cli import main
from shared.contracts.routes import QUEUES
from shared.messaging.topology import declarations

SECRET = "a-secret-of-more-than-sixteen-bytes"


@dataclass
class School:
    """The settings of a school, and the servers behind them."""

    settings: dict[str, str]
    #: By queue, the channel on which it is consumed.
    workers: dict[str, BlockingChannel]

    @property
    def database_url(self) -> str:
        return self.settings["NOUBA_DATABASE_URL"]

    @property
    def rabbitmq_url(self) -> str:
        return self.settings["NOUBA_RABBITMQ_URL"]

    def execute(self, statement: str, values: dict[str, str] | None = None) -> None:
        with contextlib.closing(psycopg2.connect(self.database_url)) as connection, connection:
            connection.cursor().execute(statement, values)

    def examine(self) -> tuple[int, list[dict[str, str]]]:
        """The exit status of `nouba doctor --json`, and what it found."""
        result = CliRunner().invoke(main, ["doctor", "--json"], env={**_unset(), **self.settings})
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        findings: list[dict[str, str]] = json.loads(result.stdout)["findings"]
        return result.exit_code, findings

    def faults(self) -> list[dict[str, str]]:
        return [finding for finding in self.examine()[1] if finding["verdict"] == "fault"]


@contextlib.contextmanager
def healthy_school(database_url: str, rabbitmq_url: str, s3: S3) -> Iterator[School]:
    """Servers, consumers, web servers and a day of statistics, all as they should be."""
    with (
        serving(b'{"status": "ok"}') as gateway_port,
        serving(b'{"status": "ok"}') as stats_port,
        contextlib.closing(pika.BlockingConnection(pika.URLParameters(rabbitmq_url))) as connection,
        tempfile.TemporaryDirectory() as spool,
    ):
        school = School(
            {
                "NOUBA_DATABASE_URL": database_url,
                "NOUBA_RABBITMQ_URL": rabbitmq_url,
                "NOUBA_S3_ENDPOINT_URL": s3.url,
                "NOUBA_S3_BUCKET": BUCKET,
                "AWS_ACCESS_KEY_ID": s3.access_key_id,
                "AWS_SECRET_ACCESS_KEY": s3.secret_access_key,
                "NOUBA_PSP_GENERIC_SECRETS": SECRET,
                "NOUBA_API_TOKENS": SECRET,
                "NOUBA_GATEWAY_SPOOL_DIR": spool,
                "NOUBA_GATEWAY_PORT": str(gateway_port),
                "NOUBA_STATS_PORT": str(stats_port),
            },
            {queue: _consumed(connection, queue) for queue in QUEUES},
        )
        yesterday = (datetime.now(UTC).astimezone(ZoneInfo("Africa/Algiers")) - timedelta(days=1)).date()
        keep_day(school, yesterday.isoformat())
        yield school


def keep_day(school: School, day: str) -> None:
    """Statistics of one day, as far as the doctor checks them."""
    school.execute(
        "INSERT INTO daily_stats (day, version, payload, etag, body_gzip, complete, watermark)"
        " VALUES (%(day)s, 1, '{}', '', '', true, '');"
        " INSERT INTO daily_stats_newest (day, version, failed, checked_at) VALUES (%(day)s, 1, false, now())",
        {"day": day},
    )


@contextlib.contextmanager
def serving(answer: bytes, status: int = 200) -> Iterator[int]:
    """A web server on a port of its own that says the same to everybody."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Nothing: a test has no use for it."""

    with _running(HTTPServer(("127.0.0.1", 0), Handler)) as port:
        yield port


@contextlib.contextmanager
def greeting(words: bytes) -> Iterator[int]:
    """A server on a port of its own that speaks first, as SSH does, and then hangs up."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(words)
            # what the caller asks: to hang up on it unread would take back the words
            self.request.recv(1000)

    with _running(socketserver.TCPServer(("127.0.0.1", 0), Handler)) as port:
        yield port


@contextlib.contextmanager
def _running(server: socketserver.TCPServer) -> Iterator[int]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _consumed(connection: pika.BlockingConnection, queue: str) -> BlockingChannel:
    channel = connection.channel()
    for declaration in declarations(queue):
        channel.queue_declare(declaration.name, durable=True, arguments=dict(declaration.arguments))
    channel.basic_consume(queue, lambda *_: None)
    return channel


def _unset() -> dict[str, str | None]:
    return {name: None for name in os.environ if name.startswith(("NOUBA_", "AWS_"))}
