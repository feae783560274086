"""Gets the files of a lesson, from a folder or over HTTP, each once."""

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import httpx

#: No file of a lesson is larger; a server that sends more is not believed.
MAX_BYTES = 256 << 20


class FetchError(Exception):
    """A file is not there, or the server does not give it."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file, and how the server gave it; `headers` is empty for a local one."""

    data: bytes
    headers: dict[str, str] = field(default_factory=dict)
    redirected: bool = False


class Fetcher:
    """Use as a context manager. Addresses are absolute: http, https, or a path."""

    def __init__(self) -> None:
        self._client = httpx.Client(timeout=30, follow_redirects=True, headers={"Accept-Encoding": "gzip"})
        self._known: dict[str, Fetched] = {}

    def __enter__(self) -> "Fetcher":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get(self, address: str) -> Fetched:
        """The file at `address`. Raises NotFetched."""
        if address not in self._known:
            self._known[address] = self._over_http(address) if is_http(address) else _from_disk(address)
        return self._known[address]

    def _over_http(self, address: str) -> Fetched:
        try:
            with self._client.stream("GET", address) as answer:
                answer.raise_for_status()
                data = bytearray()
                for block in answer.iter_bytes():
                    data += block
                    if len(data) > MAX_BYTES:
                        raise FetchError(f"{address} is larger than {MAX_BYTES >> 20} MiB.")
                return Fetched(bytes(data), {k.lower(): v for k, v in answer.headers.items()}, bool(answer.history))
        except httpx.HTTPError as error:
            raise FetchError(f"{address} cannot be fetched: {error}") from error


def is_http(address: str) -> bool:
    return urlsplit(address).scheme in ("http", "https")


def resolved(base: str, uri: str) -> str:
    """Where `uri` points to, written in the playlist at `base`."""
    if is_http(base) or is_http(uri):
        return urljoin(base, uri)
    return str(Path(base).parent / unquote(uri.partition("?")[0]))


def _from_disk(address: str) -> Fetched:
    path = Path(address)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise FetchError(f"{address} is larger than {MAX_BYTES >> 20} MiB.")
        return Fetched(path.read_bytes())
    except OSError as error:
        raise FetchError(f"{address} cannot be read: {error.strerror}.") from error
