"""Every row of the interface table, asked of a real server: status, headers, JSON, and what was kept."""

import gzip
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from local.postgres import Postgres
from local.psp.events import Payment, checksum, signed
from tests.webhook_gateway.running import (
    Database,
    RunningGateway,
    deliver,
    head,
    is_closed,
    new_database,
    paid,
    read_answer,
)

KEY = "bank-callback-key"


@pytest.fixture(scope="module")
def database(migrated_server: Postgres) -> Iterator[Database]:
    with new_database(migrated_server) as database:
        yield database


@pytest.fixture(scope="module")
def gateway(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    log: Path = tmp_path_factory.mktemp("gateway") / "log"
    callbacks = {"NOUBA_PSP_SATIM_CHECKSUM_MODE": "hmac_sha256", "NOUBA_PSP_SATIM_CHECKSUM_KEYS": KEY}
    gateway = RunningGateway(log, database.url, **callbacks)
    yield gateway
    gateway.kill()
    assert "Traceback" not in gateway.log
    assert " at=" not in gateway.log


@pytest.fixture
def client(gateway: RunningGateway) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=gateway.url) as client:
        yield client


@contextmanager
def nothing_kept(database: Database) -> Iterator[None]:
    before = database.counts()
    yield
    assert database.counts() == before


def assert_problem(answer: httpx.Response, status: int, code: str) -> None:
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json()["error"] == code
    assert set(answer.json()) == {"error", "message"}


def test_news_are_answered_200_once_they_are_kept(client: httpx.Client, database: Database) -> None:
    news = paid()

    first, again = deliver(client, news), deliver(client, news)

    assert first.status_code == again.status_code == 200
    event_id = first.json()["event_id"]
    assert first.json() == {"status": "accepted", "event_id": event_id}
    assert again.json() == {"status": "duplicate", "event_id": event_id}
    assert database.rows("SELECT state, body FROM webhook_events WHERE id = %s", event_id) == [("received", news.body)]


@pytest.mark.parametrize("provider", ["chargily", "standard_webhooks", "stripe", "generic"])
def test_every_signed_provider_is_taken_at_its_own_address(client: httpx.Client, provider: str) -> None:
    answer = deliver(client, paid(provider))

    assert (answer.status_code, answer.json()["status"]) == (200, "accepted")


@pytest.mark.parametrize("provider", ["chargily", "standard_webhooks", "stripe", "generic"])
def test_the_address_of_existing_school_back_ends_answers_202(client: httpx.Client, provider: str) -> None:
    news = paid(provider)
    news = replace(news, path="/api/payments/webhook", headers={**news.headers, "X-PSP-Provider": provider})

    assert [deliver(client, news).status_code for _ in range(2)] == [202, 202]
    assert deliver(client, replace(news, path=f"/webhooks/{provider}")).json()["status"] == "duplicate"


@pytest.mark.parametrize("named", [{}, {"X-PSP-Provider": ""}, {"X-PSP-Provider": "nobody"}])
def test_without_a_provider_that_address_answers_404(
    client: httpx.Client, database: Database, named: dict[str, str]
) -> None:
    with nothing_kept(database):
        assert_problem(client.post("/api/payments/webhook", headers=named, content=b"{}"), 404, "unknown_provider")


@pytest.mark.parametrize("name", ["satim", "cib"])
def test_a_payer_who_comes_back_from_the_bank_is_sent_on_to_the_school(client: httpx.Client, name: str) -> None:
    answer = client.get(f"/webhooks/{name}", params={"orderId": f"browser-{name}"})

    assert answer.status_code == 303
    assert answer.headers["Location"] == f"https://school.example/paid?orderId=browser-{name}"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_callback_of_the_bank_is_answered_in_json(client: httpx.Client, database: Database, method: str) -> None:
    parameters = {"mdOrder": f"callback-{method}", "operation": "deposited", "status": "1"}
    parameters["checksum"] = checksum(KEY, parameters)

    if method == "GET":
        answer = client.get("/webhooks/satim", params=parameters)
    else:
        answer = client.post("/webhooks/satim", data=parameters)

    assert (answer.status_code, answer.json()["status"]) == (200, "accepted")
    kept = database.rows("SELECT reference, signed FROM webhook_events WHERE id = %s", answer.json()["event_id"])
    assert kept == [(f"callback-{method}", True)]


@pytest.mark.parametrize("query", ["", "?orderId=", "?orderId=a&orderId=b", "?orderId=%27%3B--", "?x=1"])
def test_a_hint_that_names_no_order_is_refused(client: httpx.Client, database: Database, query: str) -> None:
    with nothing_kept(database):
        assert_problem(client.get(f"/webhooks/satim{query}"), 401, "invalid_signature")


def test_an_unknown_provider_is_answered_404(client: httpx.Client, database: Database) -> None:
    with nothing_kept(database):
        assert_problem(client.post("/webhooks/nobody", content=b"{}"), 404, "unknown_provider")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/webhooks/generic", {"POST"}),
        ("HEAD", "/webhooks/generic", {"POST"}),
        ("PUT", "/webhooks/generic", {"POST"}),
        ("OPTIONS", "/webhooks/generic", {"POST"}),
        ("HEAD", "/webhooks/satim?orderId=head", {"GET", "POST"}),
        ("DELETE", "/webhooks/satim?orderId=delete", {"GET", "POST"}),
        ("GET", "/api/payments/webhook", {"POST"}),
        ("POST", "/healthz", {"GET"}),
        ("BREW", "/healthz", {"GET"}),
    ],
)
def test_another_method_is_answered_405_with_those_that_are_allowed(
    client: httpx.Client, database: Database, method: str, path: str, allowed: set[str]
) -> None:
    with nothing_kept(database):
        answer = client.request(method, path)

    assert answer.status_code == 405
    assert allowed <= set(answer.headers["Allow"].split(", "))
    if method != "HEAD":
        assert_problem(answer, 405, "method_not_allowed")


@pytest.mark.parametrize("path", ["/", "/webhooks", "/webhooks/", "//webhooks/generic", "/webhooks/a/b", "/%00", "/é"])
def test_an_address_that_is_none_is_answered_404_in_json(client: httpx.Client, path: str) -> None:
    answer = client.post(path, content=b"{}")

    assert answer.status_code in (404, 405)
    assert set(answer.json()) == {"error", "message"}


@pytest.mark.parametrize("encoding", ["gzip", "br", "GZIP", "identity, gzip"])
def test_a_compressed_body_is_answered_415(client: httpx.Client, database: Database, encoding: str) -> None:
    news = paid()
    news = replace(news, body=gzip.compress(news.body), headers={**news.headers, "Content-Encoding": encoding})

    with nothing_kept(database):
        assert_problem(deliver(client, news), 415, "encoded_body")


def test_a_body_that_says_it_is_not_compressed_is_taken(client: httpx.Client) -> None:
    news = paid()

    answer = deliver(client, replace(news, headers={**news.headers, "Content-Encoding": "Identity"}))

    assert answer.status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/openapi.json", "/docs"])
def test_pages_answer_get_and_head_alike(client: httpx.Client, path: str) -> None:
    got, asked = client.get(path), client.head(path)

    assert got.status_code == asked.status_code == 200
    assert asked.content == b""
    assert got.headers["Content-Type"] == asked.headers["Content-Type"]


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

    with nothing_kept(database), gateway.connect() as connection:
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

    with nothing_kept(database), gateway.connect() as connection:
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


def test_a_hint_nobody_signed_is_kept_as_such(client: httpx.Client, database: Database) -> None:
    hint = signed("satim", [], Payment(reference="unsigned-hint", amount_minor=100))

    assert deliver(client, hint).status_code == 303

    rows = database.rows("SELECT signed, method, body FROM webhook_events WHERE reference = 'unsigned-hint'")
    assert rows == [(False, "GET", b"orderId=unsigned-hint")]
