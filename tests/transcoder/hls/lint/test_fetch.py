"""What lint fetches: nothing of a private network that the operator has not named, and nothing without a bound."""

import contextlib
import gzip
import os
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from services.transcoder.hls.lint.fetch import MAX_DECOMPRESSED_BYTES, Fetcher, FetchError
from services.transcoder.hls.lint.presentation import Presentation
from shared.runtime.bounded_decompression import ContentCodingError

Serve = Callable[..., str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """`serve(path=(status, headers, body), ...)`: a server at 127.0.0.1 with these answers; its address."""
    servers: list[ThreadingHTTPServer] = []

    def start(answers: dict[str, tuple[int, dict[str, str], bytes]]) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                status, headers, body = answers[self.path]
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    asked: list[str] = []
    start.asked = asked  # type: ignore[attr-defined]
    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_the_address_that_the_operator_typed_is_fetched_wherever_it_is(serve: Serve) -> None:
    url = serve({"/master.m3u8": (200, {}, b"#EXTM3U"), "/one.m3u8": (302, {"Location": "/master.m3u8"}, b"")})

    with Fetcher(f"{url}/master.m3u8") as fetcher:
        assert fetcher.get(f"{url}/master.m3u8").data == b"#EXTM3U"
        assert fetcher.get(f"{url}/one.m3u8").redirected


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0", "127.1"])  # noqa: S104
def test_a_playlist_leads_to_no_private_address(serve: Serve, host: str) -> None:
    # Given a lesson, and another server on a private address
    inner = serve({"/secret": (200, {}, b"secret")})
    port = inner.rpartition(":")[2]
    url = serve({"/redirect": (302, {"Location": f"http://{host}:{port}/secret"}, b"")})

    with Fetcher(f"{url}/master.m3u8") as fetcher:
        # When its playlist or a redirect names the other one, then it is not asked
        for address in (f"http://{host}:{port}/secret", f"{url}/redirect"):
            with pytest.raises(FetchError, match=r"private address|has no address"):
                fetcher.get(address)
    assert "/secret" not in serve.asked  # type: ignore[attr-defined]


@pytest.mark.parametrize("address", ["file:///etc/passwd", "/etc/passwd", "ftp://127.0.0.1/a", "data:,a"])
def test_a_lesson_of_a_server_leads_to_no_file(serve: Serve, address: str) -> None:
    with Fetcher("http://127.0.0.1:1/master.m3u8") as fetcher, pytest.raises(FetchError, match="no http"):
        fetcher.get(address)


def test_a_small_answer_that_unpacks_to_much_is_refused(serve: Serve) -> None:
    # Given a playlist of some kB that unpacks to more than any playlist is
    bomb = gzip.compress(bytes(MAX_DECOMPRESSED_BYTES * 4))
    assert len(bomb) < 100_000
    fine = gzip.compress(b"#EXTM3U\n" * 1000)
    url = serve(
        {"/bomb": (200, {"Content-Encoding": "gzip"}, bomb), "/fine": (200, {"Content-Encoding": "gzip"}, fine)}
    )

    with Fetcher(f"{url}/bomb") as fetcher:
        with pytest.raises(FetchError, match="larger than 16 MiB"):
            fetcher.get(f"{url}/bomb")
        assert fetcher.get(f"{url}/fine").data == b"#EXTM3U\n" * 1000


def test_a_gzipped_copy_of_a_playlist_that_unpacks_to_much_is_refused(serve: Serve) -> None:
    # Given files that are gzipped themselves, as copies of what stands in S3 are: no header says so
    bomb = gzip.compress(b"#EXTM3U\n" + bytes(MAX_DECOMPRESSED_BYTES * 4))
    url = serve({"/bomb": (200, {}, bomb), "/fine": (200, {}, gzip.compress(b"#EXTM3U\n"))})

    with Fetcher(f"{url}/bomb") as fetcher:
        tracemalloc.start()
        with pytest.raises(ContentCodingError, match="unpacks to more"):
            Presentation(f"{url}/bomb", fetcher).master  # noqa: B018 - it is read when it is asked for
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < MAX_DECOMPRESSED_BYTES * 3
        assert Presentation(f"{url}/fine", fetcher).master.uri == f"{url}/fine"


def test_a_coding_that_was_not_asked_for_is_refused(serve: Serve) -> None:
    url = serve({"/a": (200, {"Content-Encoding": "br"}, b"x")})

    with Fetcher(f"{url}/a") as fetcher, pytest.raises(FetchError, match="sent as br"):
        fetcher.get(f"{url}/a")


def test_what_is_no_regular_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")

    with Fetcher(str(tmp_path / "master.m3u8")) as fetcher:
        for path in (str(tmp_path / "fifo"), "/dev/zero", "a\0b"):
            with pytest.raises(FetchError):
                fetcher.get(path)


@pytest.mark.parametrize("coding", [{}, {"Content-Encoding": "gzip"}])
def test_the_body_of_a_redirect_is_not_read(serve: Serve, coding: dict[str, str]) -> None:
    # Given a redirect with a body that is large, or unpacks to much
    plain = bytes(4 * MAX_DECOMPRESSED_BYTES)
    large = {"Location": "/fine", **coding}
    answers = {"/redirect": (302, large, gzip.compress(plain) if coding else plain), "/fine": (200, {}, b"#EXTM3U\n")}
    url = serve(answers)

    # When it is followed
    with Fetcher(f"{url}/redirect") as fetcher:
        tracemalloc.start()
        try:
            found = fetcher.get(f"{url}/redirect")
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    # Then the file is there, and the body was not held
    assert (found.data, found.redirected) == (b"#EXTM3U\n", True)
    assert peak_bytes < MAX_DECOMPRESSED_BYTES


def test_redirects_that_lead_in_a_circle_end(serve: Serve) -> None:
    url = serve({"/a": (302, {"Location": "/a"}, b"")})

    with Fetcher(f"{url}/a") as fetcher, pytest.raises(FetchError, match="redirected more than 5 times"):
        fetcher.get(f"{url}/a")
    assert serve.asked.count("/a") == 6  # type: ignore[attr-defined]


def test_headers_that_drip_end_with_the_time_of_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a server that sends a header every tenth of a second, and never the last one
    monkeypatch.setattr("services.transcoder.hls.lint.fetch.MAX_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
        ended = threading.Event()

        def drip() -> None:
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\n")
                while not ended.wait(0.1):
                    connection.sendall(b"X: y\r\n")

        pool.submit(drip)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/master.m3u8"

        # When lint fetches from it, then it gives the file up
        guard = threading.Timer(20, ended.set)
        guard.start()
        began = time.monotonic()
        with Fetcher(url) as fetcher, pytest.raises(FetchError, match="longer than 1 s"):
            fetcher.get(url)
        assert time.monotonic() - began < 15
        guard.cancel()
        ended.set()
