"""Endpoints of a school: real HTTP servers that answer well, badly, slowly or not at all."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from standardwebhooks.webhooks import Webhook


@dataclass(frozen=True, slots=True)
class Received:
    """One request, as it came."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def event(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    def verify(self, secret: str) -> None:
        """Raises where the specification's own library does not take the signature."""
        Webhook(secret).verify(self.body, self.headers)


@dataclass
class Receiver:
    """Answers what `answer` says of the request's number and event: a status, or what acts on the handler."""

    answer: Callable[[int, dict[str, Any]], Any] = lambda number, event: 204
    received: list[Received] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks?school=1"

    def ids(self) -> list[str]:
        return [one.event["id"] for one in self.received]

    def types(self) -> list[str]:
        return [one.event["type"] for one in self.received]

    def of_type(self, kind: str) -> list[Received]:
        return [one for one in self.received if one.event["type"] == kind]

    @classmethod
    @contextmanager
    def listening(cls, answer: Callable[[int, dict[str, Any]], Any] | int = 204, port: int = 0) -> Iterator[Self]:
        answers = (lambda number, event: answer) if isinstance(answer, int) else answer
        receiver = cls(answers)
        lock = threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                with lock:
                    receiver.received.append(Received(self.path, headers, body, time.time()))
                    number = len(receiver.received)
                said = receiver.answer(number, json.loads(body))
                if callable(said):
                    said(self)
                    return
                self.send_response(said)
                if 300 <= said < 400:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        server.daemon_threads = True
        receiver.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            server.server_close()


def drip(handler: BaseHTTPRequestHandler) -> None:
    """Answer a byte at a time, for longer than anybody waits."""
    for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 600:
        try:
            handler.wfile.write(bytes([byte]))
            handler.wfile.flush()
        except OSError:
            return
        time.sleep(0.1)


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    """Close the connection without an answer."""
    handler.close_connection = True
