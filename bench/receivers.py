"""Endpoints of a school for the part `events`: real HTTP servers that answer, or fail in one of five ways."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from local.free_port import HOST, free_port

#: How the failing ones fail, each in its own way; "refused" listens at nothing.
FAULTS = ("500", "no answer", "refused", "redirect", "drip")
_DRIP_SECONDS = 0.2


@dataclass(slots=True)
class Receiver:
    """One endpoint: `delays` has, by the id of each event that it took, the seconds since it was recorded."""

    fault: str
    port: int
    delays: dict[str, float] = field(default_factory=dict)
    requests: int = 0
    _server: "ThreadingHTTPServer | None" = None

    @classmethod
    @contextmanager
    def open(cls, fault: str = "") -> "Iterator[Receiver]":
        receiver = cls(fault, free_port())
        if fault != "refused":
            receiver._listen()
        try:
            yield receiver
        finally:
            if receiver._server is not None:
                receiver._server.shutdown()
                receiver._server.server_close()

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}/"

    def recover(self) -> None:
        """From now on it takes everything."""
        if self.fault == "refused":
            self._listen()
        self.fault = ""

    def take(self, body: bytes) -> None:
        event = json.loads(body)
        delay = time.time() - datetime.fromisoformat(event["timestamp"]).timestamp()
        self.delays.setdefault(event["id"], delay)

    def _listen(self) -> None:
        self._server = _Server((HOST, self.port), _handler(self))
        threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True).start()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """A worker that no longer waits is no news."""


def _handler(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.requests += 1
            match receiver.fault:
                case "no answer":
                    self._wait_for_the_end()
                case "drip":
                    self._drip()
                case fault:
                    self._answer({"": 204, "500": 500, "redirect": 307}[fault], body)

        def _answer(self, status: int, body: bytes) -> None:
            if status == 204:
                receiver.take(body)
            head = f"HTTP/1.1 {status} -\r\nContent-Length: 0\r\n"
            head += "Location: /elsewhere\r\n" if status == 307 else ""
            self.wfile.write(f"{head}\r\n".encode())

        def _wait_for_the_end(self) -> None:
            self.close_connection = True
            with suppress(OSError):
                self.connection.recv(1, socket.MSG_PEEK)

        def _drip(self) -> None:
            self.close_connection = True
            with suppress(OSError):
                for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 1000:
                    self.wfile.write(bytes([byte]))
                    time.sleep(_DRIP_SECONDS)

        def log_message(self, *_: object) -> None: ...

    return Handler
