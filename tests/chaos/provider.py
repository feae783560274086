"""Behaves as the payment providers do: reports each event, and reports it again until somebody answers 2xx.

One thread and plain sockets, since what the sender costs is taken from the cores that the tested processes need.
"""

import heapq
import random
import selectors
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tests.chaos.events import News

#: A provider gives an attempt up after so long, and waits a little longer after each vain one. (Real ones wait minutes;
#: a run that is to end this hour cannot.)
ATTEMPT_SECONDS = 10.0
FIRST_WAIT_SECONDS, MAX_WAIT_SECONDS = 0.3, 5.0
CONNECTIONS_PER_GATEWAY = 8
#: A gateway that is not there is left alone for so long.
REST_SECONDS = 1.0
_REFUSED = (400, 401, 429)


@dataclass(slots=True)
class Answers:
    """What came back."""

    #: by status; 0 where nothing came
    statuses: Counter[int] = field(default_factory=Counter)
    #: the same of genuine news alone
    genuine: Counter[int] = field(default_factory=Counter)
    done: int = 0
    #: genuine news that somebody refused, and forgeries that somebody took
    wrong: list[str] = field(default_factory=list)
    #: milliseconds of each answer 2xx
    taken_ms: list[float] = field(default_factory=list)


class _Line:
    """One connection to one gateway, with at most one request under way."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.socket: socket.socket | None = None
        self.news: News | None = None
        self.attempt = 0
        self.asked_at = 0.0
        self.rests_until = 0.0
        self._received = b""

    def ask(self, news: News, attempt: int) -> None:
        """Send one request. Raises OSError where nobody takes it."""
        self.news, self.attempt, self.asked_at, self._received = news, attempt, time.monotonic(), b""
        if self.socket is None:
            self.socket = socket.create_connection(("127.0.0.1", self.port), timeout=2)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(news.request("gateway", datetime.now(UTC)))

    def read(self) -> int | None:
        """The status once the whole answer is there. Raises OSError where the connection ends before."""
        assert self.socket is not None
        if not (piece := self.socket.recv(65_536)):
            raise ConnectionResetError
        self._received += piece
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found or len(body) < _length(head):
            return None
        status = int(head[9:12])
        if b"connection: close" in head.lower():
            self.close()
        return status

    def close(self) -> None:
        if self.socket is not None:
            self.socket.close()
            self.socket = None


class Provider:
    """All providers at once, over some connections to each of the gateways on `ports`."""

    def __init__(self, ports: Sequence[int], seed: int, stopping: threading.Event) -> None:
        self._lines = [_Line(port) for _ in range(CONNECTIONS_PER_GATEWAY) for port in ports]
        self._dice = random.Random(f"provider {seed}")
        self._stopping = stopping
        self._again: list[tuple[float, int, News, int]] = []
        self._tries = 0
        self._selector = selectors.DefaultSelector()
        self.answers = Answers()

    def notify(self, parcels: Sequence[News], rate: float) -> None:
        """Send all of them, `rate` a second at the most, until each has its answer or it is time to stop."""
        waiting, began, sent = deque(self._lines), time.monotonic(), 0
        try:
            while self.answers.done < len(parcels) and not self._stopping.is_set():
                now = time.monotonic()
                for _ in range(len(waiting)):
                    line = waiting.popleft()
                    if line.rests_until > now:
                        waiting.append(line)
                    elif self._again and self._again[0][0] <= now:
                        _, _, news, attempt = heapq.heappop(self._again)
                        self._ask(line, news, attempt, waiting)
                    elif sent < len(parcels) and began + sent / rate <= now:
                        self._ask(line, parcels[sent], 0, waiting)
                        sent += 1
                    else:
                        waiting.append(line)
                        break
                self._listen(waiting)
        finally:
            for line in self._lines:
                line.close()
            self._selector.close()

    def _ask(self, line: _Line, news: News, attempt: int, waiting: "deque[_Line]") -> None:
        try:
            line.ask(news, attempt)
        except OSError:
            self._fail(line, waiting)
        else:
            assert line.socket is not None
            self._selector.register(line.socket, selectors.EVENT_READ, line)

    def _listen(self, waiting: "deque[_Line]") -> None:
        for key, _ in self._selector.select(0.005):
            line: _Line = key.data
            try:
                status = line.read()
            except OSError:
                self._selector.unregister(key.fileobj)
                self._fail(line, waiting)
                continue
            if status is not None:
                self._selector.unregister(key.fileobj)
                self._take(line, status)
                waiting.append(line)
        now = time.monotonic()
        for key in list(self._selector.get_map().values()):
            if now - key.data.asked_at > ATTEMPT_SECONDS:
                self._selector.unregister(key.fileobj)
                self._fail(key.data, waiting)

    def _take(self, line: _Line, status: int) -> None:
        news, answers = line.news, self.answers
        assert news is not None
        self._count(news, status)
        taken, refused = 200 <= status < 300, status in _REFUSED
        if taken:
            answers.taken_ms.append((time.monotonic() - line.asked_at) * 1000)
        if taken == news.is_genuine and (taken or refused):
            answers.done += 1
        elif taken or status in (400, 401):
            answers.done += 1
            word = "a forgery was taken" if taken else f"genuine news were refused with {status}"
            answers.wrong.append(f"{word}: {news.route} {news.event_id}")
        else:
            self._resend(news, line.attempt)

    def _fail(self, line: _Line, waiting: "deque[_Line]") -> None:
        """Nothing came back: the event may have been kept or not, and so it is sent again."""
        assert line.news is not None
        self._count(line.news, 0)
        line.close()
        line.rests_until = time.monotonic() + REST_SECONDS
        self._resend(line.news, line.attempt)
        waiting.append(line)

    def _count(self, news: News, status: int) -> None:
        self.answers.statuses[status] += 1
        if news.is_genuine:
            self.answers.genuine[status] += 1

    def _resend(self, news: News, attempt: int) -> None:
        self._tries += 1
        wait = min(MAX_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2**attempt) * self._dice.uniform(0.5, 1.0)
        heapq.heappush(self._again, (time.monotonic() + wait, self._tries, news, attempt + 1))


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n")[1:]:
        if line.startswith(b"content-length:"):
            return int(line[15:])
    return 0
