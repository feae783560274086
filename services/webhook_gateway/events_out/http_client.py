"""Posts deliveries to the school's endpoints: to public addresses alone, without redirects, within a total deadline.

Standard library: the socket has to be ours, so that the address that was checked is the one that is connected to, and
so that a server that drips can be cut off. Connections are kept open and used again.
"""

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from urllib.parse import SplitResult, urlsplit

from shared.runtime.public_addresses import PrivateAddressError, public_addresses
from shared.runtime.socket_deadlines import SocketDeadlines

#: An answer's body says nothing that we need.
LARGEST_ANSWER_BYTES = 64 * 1024
CONNECT_SECONDS = 5.0
#: Servers commonly close an idle connection after a minute or less.
IDLE_SECONDS = 20.0
#: Of all endpoints together: each takes two file descriptors.
IDLE_CONNECTIONS = 64
USER_AGENT = f"nouba/{version('nouba')}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one attempt: a status, or why there is none."""

    status: int | None
    error: str | None
    milliseconds: int

    @property
    def is_success(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


class IdleConnections:
    """Open connections that no thread uses, the one that was used last at the end."""

    def __init__(self) -> None:
        self._idle: list[tuple[str, _Connection]] = []
        self._lock = threading.Lock()

    def take(self, origin: str) -> "_Connection | None":
        """The one that was used last; the caller owns it."""
        with self._lock:
            self._close_old()
            for place in reversed(range(len(self._idle))):
                if self._idle[place][0] == origin:
                    return self._idle.pop(place)[1]
        return None

    def release(self, origin: str, connection: "_Connection") -> None:
        connection.used_at = time.monotonic()
        with self._lock:
            self._idle.append((origin, connection))
            self._close_old()

    def _close_old(self) -> None:
        oldest = time.monotonic() - IDLE_SECONDS
        while self._idle and (len(self._idle) > IDLE_CONNECTIONS or self._idle[0][1].used_at < oldest):
            self._idle.pop(0)[1].close()


class EndpointClient:
    """Several threads may use it. `timeout_seconds` bounds an attempt from the connect to the answer's last byte."""

    def __init__(self, timeout_seconds: float, *, allow_private: bool) -> None:
        self._timeout_seconds = timeout_seconds
        self._allow_private = allow_private
        self._tls = ssl.create_default_context()
        self._idle = IdleConnections()
        self._deadlines = SocketDeadlines()

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send it once, and return what came of it; raises nothing for a fault of the endpoint."""
        began = time.monotonic()
        try:
            status, error = self._post(urlsplit(url), headers, body, began + self._timeout_seconds), None
        except (OSError, http.client.HTTPException, ValueError) as fault:
            status, error = None, _sentence(fault)
        return Answer(status, error, int((time.monotonic() - began) * 1000))

    def _post(self, parts: SplitResult, headers: Mapping[str, str], body: bytes, due: float) -> int:
        kept = self._idle.take(_origin(parts))
        if kept is not None:
            try:
                return self._exchange(kept, parts, headers, body, due)
            except (http.client.RemoteDisconnected, ConnectionError):
                # the server closed it while it was idle; what is sent twice is the receiver's to recognize
                if time.monotonic() >= due:
                    raise TimeoutError from None
        return self._exchange(self._connect(parts, due), parts, headers, body, due)

    def _exchange(
        self, connection: "_Connection", parts: SplitResult, headers: Mapping[str, str], body: bytes, due: float
    ) -> int:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        is_whole = False
        sent = {"Content-Type": "application/json", "User-Agent": USER_AGENT, "Accept": "*/*", **headers}
        try:
            # a socket's own timeout begins anew with each byte
            with self._deadlines.within(connection.wire, due - time.monotonic(), socket.SHUT_RDWR) as deadline:
                try:
                    connection.request("POST", target, body, sent)
                    answer = connection.getresponse()
                    answer.read(LARGEST_ANSWER_BYTES)
                except (OSError, http.client.HTTPException) as error:
                    if deadline.passed:
                        raise TimeoutError from error
                    raise
                if deadline.passed:
                    raise TimeoutError
            # closed once it is read to its end: one that is larger, or was cut off, is not
            is_whole = answer.isclosed() and not answer.will_close
            return answer.status
        finally:
            if is_whole:
                self._idle.release(_origin(parts), connection)
            else:
                connection.close()

    def _connect(self, parts: SplitResult, due: float) -> "_Connection":
        connection = _Connection(parts, self._tls if parts.scheme == "https" else None, self._deadlines, due)
        connection.open(public_addresses(connection.host, connection.port, allow_private=self._allow_private))
        return connection


class _Connection(http.client.HTTPConnection):
    """Is connected to an address that was checked; the name stays the server's, for Host and TLS."""

    def __init__(self, parts: SplitResult, tls: ssl.SSLContext | None, deadlines: SocketDeadlines, due: float) -> None:
        self.default_port = 443 if tls else 80  # Host has no port where it is the usual one
        super().__init__(parts.hostname or "", parts.port or self.default_port)
        self.used_at = 0.0
        self.wire: socket.socket
        self._tls = tls
        self._deadlines = deadlines
        self._due = due

    def open(self, addresses: list[str]) -> None:
        """Connect to the first of `addresses` that answers."""
        for place, address in enumerate(addresses):
            left_seconds = self._due - time.monotonic()
            if left_seconds <= 0:
                raise TimeoutError
            try:
                plain = socket.create_connection((address, self.port), min(CONNECT_SECONDS, left_seconds))
                break
            except OSError:
                if place + 1 == len(addresses):
                    raise
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plain.settimeout(None)
        self.wire = plain.dup()
        self.sock = plain
        try:
            with self._deadlines.within(self.wire, self._due - time.monotonic(), socket.SHUT_RDWR) as deadline:
                if self._tls is not None:
                    try:
                        self.sock = self._tls.wrap_socket(plain, server_hostname=self.host)
                    except OSError as error:
                        if deadline.passed:
                            raise TimeoutError from error
                        raise
        except BaseException:
            self.close()
            raise

    def connect(self) -> None:
        # http.client would connect by name
        raise http.client.NotConnected

    def close(self) -> None:
        super().close()
        if hasattr(self, "wire"):
            self.wire.close()


def _origin(parts: SplitResult) -> str:
    return f"{parts.scheme}://{parts.netloc}"


def _sentence(fault: Exception) -> str:
    """Why there was no answer, in words that hold nothing of the address."""
    for kind, sentence in _SENTENCES.items():
        if isinstance(fault, kind):
            return sentence
    return "no connection"


_SENTENCES: dict[type[Exception], str] = {
    PrivateAddressError: "private address",
    socket.gaierror: "name not resolved",
    TimeoutError: "timeout",
    ssl.SSLCertVerificationError: "certificate not valid",
    ssl.SSLError: "TLS failed",
    ConnectionRefusedError: "connection refused",
    http.client.HTTPException: "not HTTP, or cut off",
    ConnectionError: "connection cut off",
    ValueError: "bad address",
}
