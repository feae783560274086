"""HTTP client for provider APIs, bounded in time and size."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx

from services.webhook_gateway.errors import ProviderRateLimitedError, ProviderUnavailableError
from shared.runtime.bounded_decompression import ContentCodingError, decoded
from shared.runtime.call_deadline import CallDeadline

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


def fetch(
    client: httpx.Client, method: str, url: str, *, name: str, within_seconds: float = WITHIN_SECONDS, **request: Any
) -> Fetched:
    """The answer, whatever its status but 429 or 5xx. `name` is how a refusal names the call.

    Raises ProviderUnavailableError, and ProviderRateLimitedError for 429; neither holds what was sent.
    """
    with CallDeadline(within_seconds) as limit:
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
    client: httpx.Client, method: str, url: str, name: str, limit: CallDeadline, request: Mapping[str, Any]
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


def _retry_after(headers: Mapping[str, str]) -> float | None:
    wait = headers.get("Retry-After", "")
    return min(float(wait), MAX_RETRY_AFTER_SECONDS) if wait.isascii() and wait.isdigit() else None
