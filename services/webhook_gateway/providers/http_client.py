"""HTTP client for provider APIs, bounded in time and size."""

import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import httpx

from services.webhook_gateway.errors import ProviderRateLimitedError, ProviderUnavailableError
from shared.runtime.bounded_decompression import ContentCodingError, decoded
from shared.runtime.socket_deadlines import Deadline, SocketDeadlines

#: For a connection, and between two pieces of an answer.
TIMEOUT: Final = httpx.Timeout(10, connect=5)
#: For the whole answer: a provider that drips would pass every timeout between two pieces.
WITHIN_SECONDS: Final = 20.0
#: For a call that a request of the school waits for, which has less time than a worker.
WITHIN_REQUEST_SECONDS: Final = 8.0
LIMIT_BYTES: Final = 256 * 1024
#: Nobody is left alone for longer because of a header.
MAX_RETRY_AFTER_SECONDS: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Fetched:
    """The whole answer."""

    status: int
    body: bytes


# its thread is started at the first use, which is after the fork
_deadlines = SocketDeadlines()


def fetch(
    client: httpx.Client, method: str, url: str, *, name: str, within_seconds: float = WITHIN_SECONDS, **request: Any
) -> Fetched:
    """The answer, whatever its status but 429 or 5xx. `name` is how a refusal names the call.

    Raises ProviderUnavailableError, and ProviderRateLimitedError for 429; neither holds what was sent.
    """
    with _Limit(within_seconds) as limit:
        try:
            return _read(client, method, url, name, limit, request)
        except ContentCodingError as error:
            raise ProviderUnavailableError(f"{name} gave an answer that cannot be read: {error}.") from None
        except httpx.HTTPError as error:
            if limit.is_passed:
                raise ProviderUnavailableError(f"{name} answered for too long, past {within_seconds:g} s.") from None
            # the error's own words may hold the address
            raise ProviderUnavailableError(f"{name} did not answer ({type(error).__name__}).") from None


def _read(
    client: httpx.Client, method: str, url: str, name: str, limit: "_Limit", request: Mapping[str, Any]
) -> Fetched:
    body = bytearray()
    # a connection of its own: httpx does not name the socket of one that it uses again
    headers = {**request.get("headers", {}), "Connection": "close", "Accept-Encoding": "gzip"}
    given = {**request, "headers": headers, "extensions": {"trace": limit.trace}}
    with client.stream(method, url, **given) as response:
        if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
            raise ProviderRateLimitedError(_retry_after(response.headers))
        if response.is_server_error:
            raise ProviderUnavailableError(f"{name} answered {response.status_code}.")
        for piece in decoded(response.headers.get("Content-Encoding", ""), response.iter_raw(), LIMIT_BYTES):
            body += piece
            if len(body) > LIMIT_BYTES or limit.is_passed:
                raise ProviderUnavailableError(f"{name} sent more than {LIMIT_BYTES} bytes, or for too long.")
        return Fetched(response.status_code, bytes(body))


class _Limit:
    """Shuts the socket of one call when its time is over: dripping headers pass every timeout between two reads."""

    def __init__(self, seconds: float) -> None:
        self._due = time.monotonic() + seconds
        self._deadline: Deadline | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._deadline is not None:
            _deadlines.end(self._deadline)
            self._deadline.connection.close()

    @property
    def is_passed(self) -> bool:
        return time.monotonic() > self._due

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Called by httpx at each step of the call."""
        if event == "connection.connect_tcp.complete":
            wire = info["return_value"].get_extra_info("socket").dup()
            self._deadline = _deadlines.begin(wire, self._due - time.monotonic(), socket.SHUT_RDWR)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    wait = headers.get("Retry-After", "")
    return min(float(wait), MAX_RETRY_AFTER_SECONDS) if wait.isascii() and wait.isdigit() else None
