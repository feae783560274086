"""HTTP client for provider APIs, bounded in time and size."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx

from services.webhook_gateway.errors import ProviderRateLimitedError, ProviderUnavailableError

#: For a connection, and between two pieces of an answer.
TIMEOUT: Final = httpx.Timeout(10, connect=5)
#: For the whole answer: a provider that drips would pass every timeout between two pieces.
WITHIN_SECONDS: Final = 20.0
LIMIT_BYTES: Final = 256 * 1024
#: Nobody is left alone for longer because of a header.
LONGEST_RETRY_AFTER_SECONDS: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Fetched:
    """The whole answer."""

    status: int
    body: bytes


def fetch(
    client: httpx.Client, method: str, url: str, *, name: str, within_seconds: float = WITHIN_SECONDS, **request: Any
) -> Fetched:
    """The answer, whatever its status but 429 or 5xx. `name` is how a refusal names the call.

    Raises ProviderUnavailable, and AskedTooOften for 429; neither holds what was sent.
    """
    deadline = time.monotonic() + within_seconds
    body = bytearray()
    try:
        with client.stream(method, url, **request) as response:
            if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
                raise ProviderRateLimitedError(_retry_after(response.headers))
            if response.is_server_error:
                raise ProviderUnavailableError(f"{name} answered {response.status_code}.")
            for piece in response.iter_bytes():
                body += piece
                if len(body) > LIMIT_BYTES or time.monotonic() > deadline:
                    raise ProviderUnavailableError(f"{name} sent more than {LIMIT_BYTES} bytes, or for too long.")
            return Fetched(response.status_code, bytes(body))
    except httpx.HTTPError as error:
        # the error's own words may hold the address
        raise ProviderUnavailableError(f"{name} did not answer ({type(error).__name__}).") from None


def _retry_after(headers: Mapping[str, str]) -> float | None:
    told = headers.get("Retry-After", "")
    return min(float(told), LONGEST_RETRY_AFTER_SECONDS) if told.isascii() and told.isdigit() else None
