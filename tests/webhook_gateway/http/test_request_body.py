"""Bodies as strangers send them: whole, in pieces, too large, too slow, broken off; and what that costs the others."""

import contextlib
import random
import socket
import struct
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from local.postgres import Postgres
from local.psp.signed_webhooks import Delivery, sign
from shared.contracts.webhooks import EventState
from tests.waiting import wait_until
from tests.webhook_gateway.processes import (
    SECRETS,
    Database,
    RunningGateway,
    deliver,
    head,
    is_closed,
    new_database,
    paid,
    read_answer,
)

LIMIT_BYTES = 256 * 1024
BODY_SECONDS, REQUEST_SECONDS = 1.5, 3.0
SLOW_SENDERS = 100


@pytest.fixture(scope="module")
def database(migrated_server: Postgres) -> Iterator[Database]:
    with new_database(migrated_server) as database:
        yield database


@pytest.fixture(scope="module")
def gateway(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    log: Path = tmp_path_factory.mktemp("gateway") / "log"
    limits = {
        "NOUBA_GATEWAY_BODY_SECONDS": str(BODY_SECONDS),
        "NOUBA_GATEWAY_REQUEST_SECONDS": str(REQUEST_SECONDS),
    }
    gateway = RunningGateway(log, database.url, **limits)
    yield gateway
    gateway.kill()
    # no sender made it fail
    assert "Traceback" not in gateway.log
    assert " at=" not in gateway.log


def of(body: bytes) -> Delivery:
    """A genuine request with any body."""
    headers = sign("generic", SECRETS["generic"], body, datetime.now(UTC))
    return Delivery(provider="generic", method="POST", path="/webhooks/generic", headers=headers, body=body)


def chunked(body: bytes, source: random.Random, largest: int) -> bytes:
    pieces, at = [], 0
    while at < len(body):
        piece = body[at : at + source.randint(1, largest)]
        pieces.append(b"%x;a=b\r\n%s\r\n" % (len(piece), piece))
        at += len(piece)
    return b"".join(pieces) + b"0\r\nX-Trailer: a\r\n\r\n"


BODIES = {
    "every byte": bytes(range(256)),
    "line ends": b"\r\n\r\n0\r\n\r\nPOST / HTTP/1.1\r\n",
    "one byte": b"\0",
    "not UTF-8": b"\xff\xfe\xed\xa0\x80",
    "as large as may be": random.Random(1).randbytes(LIMIT_BYTES),
}


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("way", ["length", "chunks"])
def test_the_bytes_are_kept_exactly_as_they_were_sent(
    gateway: RunningGateway, database: Database, name: str, way: str
) -> None:
    body = BODIES[name] + way.encode() if name != "as large as may be" else way.encode() + BODIES[name][len(way) :]
    news = of(body)

    with gateway.connect() as connection:
        if way == "length":
            connection.sendall(head(news, f"Content-Length: {len(body)}") + body)
        else:
            sent = head(news, "Transfer-Encoding: chunked") + chunked(body, random.Random(2), max(2, len(body) // 9))
            connection.sendall(sent)
        status, headers, _ = read_answer(connection)
        assert (status, headers["connection"]) == (200, "keep-alive")

        # and the next request of the connection begins where this one ended
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        assert read_answer(connection)[0] == 200
    assert database.events()[-1][2:] == (EventState.QUARANTINED, body)


@pytest.mark.parametrize("size", [LIMIT_BYTES + 1, 5_000_000])
@pytest.mark.parametrize("way", ["length", "chunks"])
def test_a_larger_body_is_answered_413(gateway: RunningGateway, database: Database, way: str, size: int) -> None:
    body = bytes(size)
    before = database.counts()

    with httpx.Client(base_url=gateway.url) as client:
        sent = body if way == "length" else (body[at : at + 65536] for at in range(0, size, 65536))
        answer = client.post("/webhooks/generic", headers=dict(of(body).headers), content=sent)
        after = deliver(client, paid())

    assert (answer.status_code, answer.json()["error"]) == (413, "body_too_large")
    assert answer.headers["Connection"] == "close"
    assert after.status_code == 200
    assert database.counts()["webhook_events"] == before["webhook_events"] + 1


def test_a_larger_body_is_refused_before_it_is_sent(gateway: RunningGateway) -> None:
    with gateway.connect() as connection:
        connection.sendall(head(paid(), f"Content-Length: {10**12}"))

        assert read_answer(connection)[0] == 413
        assert is_closed(connection)


@pytest.mark.parametrize("way", ["Content-Length: 100", "Transfer-Encoding: chunked"])
def test_a_body_that_stops_is_answered_408_in_time(gateway: RunningGateway, database: Database, way: str) -> None:
    before = database.counts()
    with gateway.connect() as connection:
        # before the head is sent, since the gateway counts from its arrival
        started = time.monotonic()
        connection.sendall(head(paid(), way) + b"64\r\nabc")

        status, headers, _ = read_answer(connection)

        assert (status, headers["connection"]) == (408, "close")
        assert BODY_SECONDS <= time.monotonic() - started < REQUEST_SECONDS
        assert is_closed(connection)
    assert database.counts() == before


def test_a_body_that_drips_is_answered_408_although_it_never_stops(gateway: RunningGateway) -> None:
    with gateway.connect() as connection, dripping([connection]):
        connection.sendall(head(paid(), "Content-Length: 10000"))

        assert read_answer(connection)[0] == 408


@pytest.mark.parametrize("way", ["Content-Length: 100", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("parting", ["half", "reset"])
def test_a_sender_that_leaves_in_the_middle_leaves_nothing(
    gateway: RunningGateway, database: Database, way: str, parting: str
) -> None:
    before = database.counts()
    connection = gateway.connect()
    connection.sendall(head(paid(), way) + b"64\r\nabc")
    if parting == "half":
        connection.shutdown(socket.SHUT_WR)
        status, _, body = read_answer(connection)
        assert status == 400
        assert b"broken_body" in body
    else:
        # closes with a reset
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()

    assert httpx.get(f"{gateway.url}/healthz").status_code == 200
    assert database.counts() == before


@pytest.mark.parametrize("what", ["bodies", "heads", "silence"])
def test_many_slow_senders_keep_nobody_waiting(gateway: RunningGateway, what: str) -> None:
    begun = {
        "bodies": head(paid(), "Content-Length: 10000"),
        "heads": b"POST /webhooks/generic HTTP/1.1\r\nHost: a\r\nX-Slow: ",
        "silence": b"",
    }[what]
    with contextlib.ExitStack() as slow:
        # Given a hundred of them
        senders = [slow.enter_context(gateway.connect()) for _ in range(SLOW_SENDERS)]
        for sender in senders:
            sender.sendall(begun)
        if begun:
            slow.enter_context(dripping(senders))

        # When others send their news meanwhile, each on a new connection
        taken, deadline = [], time.monotonic() + BODY_SECONDS
        while time.monotonic() < deadline:
            started = time.monotonic()
            with httpx.Client(base_url=gateway.url) as client:
                assert deliver(client, paid()).status_code == 200
            taken.append(time.monotonic() - started)

        # Then they are answered as ever
        assert max(taken) < 1

        # And the slow ones are sent away
        if begun:
            assert all(is_closed(sender, 2 * REQUEST_SECONDS) for sender in senders)


def test_a_sender_that_reads_no_answers_is_cut_off(gateway: RunningGateway) -> None:
    with gateway.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(0.2)

        def is_cut_off() -> bool:
            try:
                connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n" * 2000)
            except TimeoutError:
                return False
            except OSError:
                return True
            return False

        wait_until(is_cut_off, 4 * REQUEST_SECONDS)


@contextlib.contextmanager
def dripping(connections: list[socket.socket]) -> Iterator[None]:
    """A byte now and then on every connection."""
    stop = threading.Event()

    def drip() -> None:
        while not stop.wait(0.2):
            for connection in connections:
                # sent away already
                with contextlib.suppress(OSError):
                    connection.sendall(b"a")

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
