"""What holds for each of the three servers: it starts, keeps its data through a crash, and leaves nothing behind."""

import json
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import httpx
import pika
import psutil
import psycopg2
import pytest

from local.daemon import MARK, DaemonProcess
from local.errors import CannotStartError
from local.free_port import HOST, accepts
from local.postgres import Postgres
from local.rabbitmq import RabbitMq
from local.s3 import BUCKET, S3
from tests.queues import wait_until_crash_safe, wait_until_led
from tests.variations import variations


@dataclass
class Case:
    """A server, and how to keep something in it and find it again."""

    server: Any
    write: Callable[[], None]
    read: Callable[[], str]
    port: Callable[[], int]


# PostgreSQL starts fastest; every test that kills RabbitMQ shows the same of it
@pytest.fixture(params=variations(["postgres", "rabbitmq", "s3"], ["postgres"]))
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Case]:
    made = {"postgres": _postgres_case, "rabbitmq": _rabbitmq_case, "s3": _s3_case}[request.param](tmp_path / "server")
    yield made
    made.server.destroy()


def test_a_server_keeps_address_and_data_through_a_crash_and_leaves_no_process_behind(case: Case) -> None:
    # Given a server with something in it
    case.server.start()
    case.write()
    address = case.server.url

    # When it crashes
    case.server.kill()

    # Then nothing of it remains, and nobody listens
    assert _processes_of(case.server) == []
    assert not case.server.running
    assert not accepts(case.port())

    # When it is started again
    case.server.start()

    # Then it has the same address and the same data
    assert case.server.url == address
    assert case.read() == "kept"

    # When it is stopped in good order, and once more
    case.server.stop()
    case.server.stop()

    # Then, too, nothing of it remains
    assert _processes_of(case.server) == []
    assert not accepts(case.port())


def test_a_port_that_somebody_took_meanwhile_is_replaced(case: Case) -> None:
    # Given a server that was stopped, and somebody else on its port
    case.server.start()
    case.write()
    taken = case.port()
    case.server.stop()
    with socket.create_server((HOST, taken)):
        # When it is started again
        case.server.start()

        # Then it has another port and the same data
        assert case.port() != taken
        assert case.read() == "kept"


@pytest.mark.parametrize("fixture", ["postgres_server", "rabbitmq_server", "s3_server"])
def test_a_running_server_is_not_started_again_and_listens_on_this_machine_alone(
    fixture: str, request: pytest.FixtureRequest
) -> None:
    # Given
    server = request.getfixturevalue(fixture)
    first = server.pid

    # When
    server.start()

    # Then
    assert server.pid == first
    addresses = {
        connection.laddr.ip
        for process in _processes_of(server)
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    # epmd insists on both loopback addresses
    assert addresses - {"::1"} == {HOST}


def _processes_of(server: Any) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == str(server.folder):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def _postgres_case(folder: Path) -> Case:
    server = Postgres(folder)

    def query(statement: str) -> Any:
        with closing(psycopg2.connect(server.url)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchone()

    return Case(
        server,
        write=lambda: query("CREATE TABLE note AS SELECT 'kept' AS text; SELECT 1"),
        read=lambda: query("SELECT text FROM note")[0],
        port=lambda: int(server._remembered["port"]),
    )


def test_dead_letters_stay_in_this_machines_broker_as_in_the_containers(rabbitmq_server: RabbitMq) -> None:
    definitions = Path(__file__).parents[2] / "deploy" / "rabbitmq" / "definitions.json"
    (deployed,) = json.loads(definitions.read_text())["policies"]

    kept = httpx.get(f"{rabbitmq_server.management_url}/api/policies/%2F").raise_for_status().json()

    assert kept == [{**deployed, "vhost": "/"}]


def _rabbitmq_case(folder: Path) -> Case:
    server = RabbitMq(folder)

    def channel(use: Callable[[Any], Any]) -> Any:
        with pika.BlockingConnection(pika.URLParameters(server.url)) as connection:
            opened = connection.channel()
            opened.confirm_delivery()
            opened.queue_declare("notes", durable=True, arguments={"x-queue-type": "quorum"})
            return use(opened)

    def write() -> None:
        channel(lambda opened: opened.basic_publish("", "notes", b"kept", pika.BasicProperties(delivery_mode=2)))
        wait_until_crash_safe(server, server.url, "notes")

    def read() -> str:
        wait_until_led(server, server.url, "notes")
        return str(channel(lambda opened: opened.basic_get("notes")[2].decode()))

    return Case(
        server,
        write=write,
        read=read,
        port=lambda: int(server._remembered["amqp"]),
    )


def _s3_case(folder: Path) -> Case:
    server = S3(folder)

    def client() -> Any:
        return boto3.client(
            "s3",
            endpoint_url=server.url,
            region_name="us-east-1",
            aws_access_key_id=server.access_key_id,
            aws_secret_access_key=server.secret_access_key,
        )

    return Case(
        server,
        write=lambda: client().put_object(Bucket=BUCKET, Key="note", Body=b"kept"),
        read=lambda: client().get_object(Bucket=BUCKET, Key="note")["Body"].read().decode(),
        port=lambda: int(server._remembered["s3"]),
    )


def test_postgresql_starts_once_the_memory_of_a_killed_server_is_free(
    own_postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait, refusals = (
        DaemonProcess.wait_until,
        ["FATAL:  pre-existing shared memory block (key 1, ID 2) is still in use"],
    )

    def wait_until(process: DaemonProcess, ready: Callable[[], bool], timeout_seconds: float) -> None:
        if refusals:
            raise CannotStartError(refusals.pop())
        wait(process, ready, timeout_seconds)

    own_postgres.kill()
    monkeypatch.setattr(DaemonProcess, "wait_until", wait_until)

    own_postgres.start()

    with closing(psycopg2.connect(own_postgres.url)):
        assert refusals == []


@pytest.mark.parametrize("killed", [False, True], ids=["running", "killed"])
def test_a_destroyed_postgresql_leaves_no_shared_memory(own_postgres: Postgres, killed: bool) -> None:
    # Given a server whose segment the machine lists
    segment = own_postgres._postmaster_file.read_text().splitlines()[6].split()[-1]
    assert segment in _shared_memory()
    if killed:
        own_postgres.kill()

    # When it is destroyed
    own_postgres.destroy()

    # Then the machine lists it no more
    assert segment not in _shared_memory()


def _shared_memory() -> list[str]:
    """The ids of the machine's System V segments."""
    listed = subprocess.run(["ipcs", "-m"], check=True, capture_output=True, text=True).stdout
    return [line.split()[1] for line in listed.splitlines() if len(line.split()) > 1]
