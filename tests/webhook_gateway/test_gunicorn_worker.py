"""What comes over a connection besides one good request: nonsense, more requests, half a connection."""

import json
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from local.postgres import Postgres
from tests.webhook_gateway.processes import Database, RunningGateway, head, is_closed, new_database, paid, read_answer


@pytest.fixture(scope="module")
def database(migrated_server: Postgres) -> Iterator[Database]:
    with new_database(migrated_server) as database:
        yield database


@pytest.fixture(scope="module")
def gateway(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    log: Path = tmp_path_factory.mktemp("gateway") / "log"
    gateway = RunningGateway(log, database.url)
    yield gateway
    gateway.kill()
    assert "Traceback" not in gateway.log
    assert " at=" not in gateway.log


# What no client would send.

NOT_HTTP = {
    "nonsense": (b"nonsense\r\n\r\n", 400),
    "a header without a colon": (b"POST /webhooks/generic HTTP/1.1\r\nHost\r\n\r\n", 400),
    "a folded header": (b"POST /webhooks/generic HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", 400),
    "a length and chunks": (
        b"POST /webhooks/generic HTTP/1.1\r\nHost: a\r\n"
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "two lengths": (
        b"POST /webhooks/generic HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        400,
    ),
    "a length that is no number": (
        b"POST /webhooks/generic HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nabcde",
        400,
    ),
    "chunks twice": (
        b"POST /webhooks/generic HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "compressed without chunks": (
        b"POST /webhooks/generic HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\nabc",
        400,
    ),
    "an unknown transfer coding": (
        b"POST /webhooks/generic HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: magic\r\n\r\nabc",
        501,
    ),
    "an unknown expectation": (
        b"POST /webhooks/generic HTTP/1.1\r\nHost: a\r\nExpect: a-miracle\r\nContent-Length: 1\r\n\r\na",
        417,
    ),
    "a long address": (b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    "a long header": (b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 9000 + b"\r\n\r\n", 431),
    "many headers": (b"GET /healthz HTTP/1.1\r\nHost: a\r\n" + b"X: a\r\n" * 100 + b"\r\n", 431),
    "chunks that are none": (
        b"POST /webhooks/generic HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
        400,
    ),
}


@pytest.mark.parametrize("name", NOT_HTTP)
def test_what_is_not_http_is_refused_in_json_and_the_connection_closed(
    gateway: RunningGateway, database: Database, name: str
) -> None:
    sent, expected = NOT_HTTP[name]

    with database.unchanged(), gateway.connect() as connection:
        connection.sendall(sent)
        status, headers, body = read_answer(connection)

        assert status == expected
        assert headers["content-type"] == "application/json"
        assert headers["connection"] == "close"
        assert set(json.loads(body)) == {"error", "message"}
        assert is_closed(connection)


def test_a_header_with_an_underscore_does_not_stand_in_for_one_with_a_dash(
    gateway: RunningGateway, database: Database
) -> None:
    news = paid()
    spoofed = replace(news, headers={"X_Signature": news.headers["X-Signature"]})

    with database.unchanged(), gateway.connect() as connection:
        connection.sendall(head(spoofed, f"Content-Length: {len(news.body)}") + news.body)
        assert read_answer(connection)[0] == 401


# One connection, many requests.

REFUSED_ON_KEEP_ALIVE = [
    (b"POST /webhooks/generic HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}", 401),
    (b"POST /webhooks/nobody HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}", 404),
    (b"POST /webhooks/nobody HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 404),
    (b"PUT /webhooks/generic HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}", 405),
    (b"POST /webhooks/generic HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}", 415),
    (b"GET /webhooks/satim?orderId=keep-alive HTTP/1.1\r\nHost: a\r\n\r\n", 303),
    (b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n", 404),
    (b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", 200),
]


def test_the_connection_goes_on_after_every_answer(gateway: RunningGateway) -> None:
    with gateway.connect() as connection:
        for sent, expected in REFUSED_ON_KEEP_ALIVE:
            connection.sendall(sent)
            status, headers, _ = read_answer(connection)
            assert (status, headers["connection"]) == (expected, "keep-alive"), sent

            news = paid()
            connection.sendall(head(news, f"Content-Length: {len(news.body)}") + news.body)
            assert read_answer(connection)[0] == 200, sent


def test_a_request_sent_before_the_last_one_was_answered_is_answered_too(gateway: RunningGateway) -> None:
    both = [paid(), paid()]

    with gateway.connect() as connection:
        connection.sendall(b"".join(head(news, f"Content-Length: {len(news.body)}") + news.body for news in both))
        # one answer at a time: what is read of the second with the first would be lost
        received = b""
        while received.count(b'"accepted"') < 2:
            piece = connection.recv(65536)
            assert piece, received
            received += piece

    assert received.count(b"HTTP/1.1 200") == 2


def test_a_sender_that_closes_its_half_is_answered(gateway: RunningGateway) -> None:
    news = paid()

    with gateway.connect() as connection:
        connection.sendall(head(news, f"Content-Length: {len(news.body)}") + news.body)
        connection.shutdown(socket.SHUT_WR)

        assert read_answer(connection)[0] == 200


@pytest.mark.parametrize(
    "header", [b"SCRIPT_NAME: /health", b"SCRIPT_NAME: /x", b"PATH_INFO: /webhooks/generic", b"X-Forwarded-Ssl: off"]
)
def test_a_client_chooses_neither_the_prefix_nor_the_scheme_of_its_address(
    gateway: RunningGateway, header: bytes
) -> None:
    # Given a client on this machine, as a proxy is one, that names a prefix or two schemes
    asked = b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: https\r\n" + header + b"\r\n\r\n"

    with gateway.connect() as connection:
        connection.sendall(asked)
        status, _, body = read_answer(connection)

    # Then the address is the one that it asked for
    assert (status, json.loads(body)) == (200, {"status": "ok"})
