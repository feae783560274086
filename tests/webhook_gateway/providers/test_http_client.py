"""A provider's own API cannot hold us for longer, or hand us more, than we allow."""

import contextlib
import gzip
import socket
import threading
import time
import tracemalloc

import httpx
import pytest
from flask import Flask, Response

from local.psp.satim_bank import Bank
from local.psp.server import simulator
from services.webhook_gateway.errors import ProviderRateLimitedError, ProviderUnavailableError
from services.webhook_gateway.providers.http_client import LIMIT_BYTES, MAX_RETRY_AFTER_SECONDS, fetch
from tests.webhook_gateway.providers.conftest import Serve

PATH = "/test/api/v2/checkouts/any"


@pytest.fixture
def client(serve: Serve) -> httpx.Client:
    app = simulator(Bank(), username="merchant", password="merchant-password")
    return httpx.Client(base_url=serve(app), timeout=httpx.Timeout(0.5), headers={"Authorization": "Bearer any"})


def be_wrong(client: httpx.Client, kind: str, seconds: float = 3) -> None:
    client.post(f"/simulator/faults/chargily/{kind}", params={"seconds": seconds}).raise_for_status()


def test_what_the_provider_says_is_given_back_as_it_came(client: httpx.Client) -> None:
    fetched = fetch(client, "GET", PATH, name="the call")

    assert (fetched.status, fetched.body.strip()) == (404, b'{"message":"Not found."}')


def test_a_slow_provider_is_not_waited_for(client: httpx.Client) -> None:
    be_wrong(client, "slow")
    started = time.monotonic()

    with pytest.raises(ProviderUnavailableError, match="ReadTimeout"):
        fetch(client, "GET", PATH, name="the call")

    assert time.monotonic() - started < 2


def test_a_dripping_provider_is_not_waited_for_though_something_always_comes(client: httpx.Client) -> None:
    be_wrong(client, "drip")
    started = time.monotonic()

    with pytest.raises(ProviderUnavailableError, match="for too long"):
        fetch(client, "GET", PATH, name="the call", within_seconds=0.7)

    assert time.monotonic() - started < 3


@pytest.mark.parametrize("greeting", [b"", b"HTTP/1.1 200 OK\r\n"])
def test_a_provider_that_drips_its_headers_is_not_waited_for(greeting: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(greeting)
                while True:
                    time.sleep(0.1)
                    connection.sendall(b"X" if greeting else b"H")

        dripping = threading.Thread(target=drip)
        dripping.start()
        started = time.monotonic()
        with pytest.raises(ProviderUnavailableError, match="for too long"):
            fetch(
                httpx.Client(timeout=httpx.Timeout(0.5)),
                "GET",
                f"http://127.0.0.1:{server.getsockname()[1]}/",
                name="the call",
                within_seconds=0.7,
            )
        assert time.monotonic() - started < 2
        dripping.join(5)


def test_an_endless_answer_is_not_read_to_its_end(serve: Serve) -> None:
    app = Flask("endless")
    app.add_url_rule("/", view_func=lambda: Response(b"x" * 65536 for _ in range(10_000)))

    with pytest.raises(ProviderUnavailableError, match=f"{LIMIT_BYTES} bytes"):
        fetch(httpx.Client(base_url=serve(app)), "GET", "/", name="the call")


def test_a_provider_that_wants_to_be_left_alone_says_for_how_long(client: httpx.Client) -> None:
    be_wrong(client, "limited", seconds=7)
    with pytest.raises(ProviderRateLimitedError) as limited:
        fetch(client, "GET", PATH, name="the call")
    assert limited.value.retry_after_seconds == 7

    be_wrong(client, "limited", seconds=10**9)
    with pytest.raises(ProviderRateLimitedError) as limited:
        fetch(client, "GET", PATH, name="the call")
    assert limited.value.retry_after_seconds == MAX_RETRY_AFTER_SECONDS


def test_no_refusal_holds_the_address_or_the_key(client: httpx.Client) -> None:
    with pytest.raises(ProviderUnavailableError) as refusal:
        fetch(client, "GET", "http://127.0.0.1:9/secret-checkout", name="the call")

    assert str(refusal.value) == "the call did not answer (ConnectError)."


#: Fills a worker's memory where it is unpacked.
LARGE_BYTES = 100_000_000
LARGE = gzip.compress(bytes(LARGE_BYTES), compresslevel=1)


BOMBS = {
    "once": ("gzip", LARGE, f"{LIMIT_BYTES} bytes"),
    "twice": ("gzip, gzip", gzip.compress(LARGE), "not asked for"),
    "not asked for": ("br", b"x", "not asked for"),
    "no gzip": ("gzip", b"no gzip at all", "not the gzip"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_answer_that_unpacks_to_much_takes_no_memory(serve: Serve, name: str) -> None:
    # Given a provider's server that answers with a bomb
    coding, body, fault = BOMBS[name]
    app = Flask("bomb")
    app.add_url_rule("/", view_func=lambda: Response(body, headers={"Content-Encoding": coding}))
    client = httpx.Client(base_url=serve(app))

    # When it is asked
    tracemalloc.start()
    try:
        with pytest.raises(ProviderUnavailableError, match=fault):
            fetch(client, "GET", "/", name="the call")
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    # Then it was not held; the client itself takes 10 MB the first time
    assert peak_bytes < LARGE_BYTES / 4


def test_an_answer_that_is_compressed_is_read(serve: Serve) -> None:
    app = Flask("compressed")
    zipped = Response(gzip.compress(b'{"id": 1}'), headers={"Content-Encoding": "gzip"})
    app.add_url_rule("/", view_func=lambda: zipped)

    assert fetch(httpx.Client(base_url=serve(app)), "GET", "/", name="the call").body == b'{"id": 1}'
