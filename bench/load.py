"""Sends HTTP requests over a fixed number of connections, as fast as they are answered or at a given rate.

One thread and plain sockets: what the sender costs is taken from the same cores as the server, so it has to be little.
"""

import selectors
import socket
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import click

from bench.measures import percentile

_MAX_SILENCE_SECONDS = 30
#: Answers without a body, whatever their head says.
_BODILESS = (204, 304)


@dataclass(slots=True)
class Outcome:
    """What came back."""

    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    #: From when a request was due (not from when a connection was free for it) to the last byte of its answer.
    latencies_ms: list[float] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        return sum(self.statuses.values()) / self.seconds

    def require(self, status: int) -> "Outcome":
        """This outcome, if every answer was `status`. Raises ClickException otherwise."""
        if set(self.statuses) != {status}:
            raise click.ClickException(f"Only {status} was expected, and this came: {dict(self.statuses)}.")
        return self

    def percentile_ms(self, share: float) -> float:
        return percentile(self.latencies_ms, share)


class _Connection:
    """One socket with at most one request under way."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=_MAX_SILENCE_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.due = 0.0
        self._received = b""

    def ask(self, request: bytes, due: float) -> None:
        self.due = due
        self.socket.sendall(request)

    def read(self) -> int | None:
        """The status of the answer once all of it is there."""
        piece = self.socket.recv(262_144)
        if not piece:
            raise click.ClickException("The server closed a connection instead of answering.")
        self._received += piece
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found:
            return None
        status = int(head[9:12])
        if status not in _BODILESS and len(body) < _content_length(head):
            return None
        self._received = b""
        return status


def send(port: int, requests: Sequence[bytes], *, connections: int, rate: float | None = None) -> Outcome:
    """Send all `requests`; with a `rate`, that many a second however slow the answers are."""
    selector = selectors.DefaultSelector()
    idle: deque[_Connection] = deque()
    for _ in range(connections):
        connection = _Connection(port)
        selector.register(connection.socket, selectors.EVENT_READ, connection)
        idle.append(connection)
    outcome, sent, answered = Outcome(), 0, 0
    began = time.perf_counter()
    try:
        while answered < len(requests):
            now = time.perf_counter()
            while idle and sent < len(requests) and (rate is None or began + sent / rate <= now):
                idle.popleft().ask(requests[sent], now if rate is None else began + sent / rate)
                sent += 1
            patience = _patience(began, sent, rate, len(requests), bool(idle))
            ready = selector.select(patience)
            if not ready and patience == _MAX_SILENCE_SECONDS:
                raise click.ClickException(f"The server did not answer for {_MAX_SILENCE_SECONDS} s.")
            for key, _ in ready:
                status = key.data.read()
                if status is not None:
                    outcome.latencies_ms.append((time.perf_counter() - key.data.due) * 1000)
                    outcome.statuses[status] += 1
                    answered += 1
                    idle.append(key.data)
    finally:
        for key in list(selector.get_map().values()):
            key.data.socket.close()
        selector.close()
    outcome.seconds = time.perf_counter() - began
    return outcome


def request(method: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """One request as bytes."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *(f"{name}: {value}" for name, value in headers.items())]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def _patience(began: float, sent: int, rate: float | None, total: int, has_idle: bool) -> float:
    if rate is None or not has_idle or sent >= total:
        return _MAX_SILENCE_SECONDS
    return max(0.0, began + sent / rate - time.perf_counter())


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise click.ClickException("An answer has no Content-Length.")
