"""Gets the files of a lesson, from a folder or over HTTP, each once.

Only the address that the operator typed is trusted: a playlist or a redirect that leads to another host must lead to a
public address. Answers are bounded after decompression, too.
"""

import os
import ssl
import stat
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import httpcore
import httpx

from services.transcoder.hls.lint.limits import LimitError, Limits
from shared.runtime.bounded_decompression import ContentCodingError, decoded
from shared.runtime.public_addresses import PrivateAddressError, public_addresses
from shared.runtime.trusted_certificates import trusted_certificates

#: No file of a lesson is larger; a server that sends more is not believed.
MAX_BYTES = 256 << 20
#: The largest playlist. Only playlists are worth compressing; larger media that is sent so is refused, too.
MAX_DECOMPRESSED_BYTES = 16 << 20
#: One file, however slowly it drips.
MAX_SECONDS = 300.0
MAX_REDIRECTS = 5


class FetchError(Exception):
    """A file is not there, or the server does not give it."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file, and how the server gave it; `headers` is empty for a local one."""

    data: bytes
    headers: dict[str, str] = field(default_factory=dict)
    redirected: bool = False


class Fetcher:
    """Use as a context manager. Addresses are absolute: http, https, or a path; `master` is the operator's own."""

    def __init__(self, master: str, limits: Limits | None = None) -> None:
        self._is_remote = is_http(master)
        #: Of a server's lesson; a folder of this machine is the operator's own.
        self._limits = limits if self._is_remote else None
        self._requested = 0
        self._network = _PublicNetwork(_origin(master))
        trusted = trusted_certificates(trust_env=False)
        transport = httpx.HTTPTransport(verify=trusted, trust_env=False)
        # httpx has no other way to say where to connect; names are resolved once, so that they cannot change meanwhile
        transport._pool = httpcore.ConnectionPool(ssl_context=trusted, network_backend=self._network)
        self._client = httpx.Client(
            timeout=30,
            headers={"Accept-Encoding": "gzip"},
            transport=transport,
            trust_env=False,
        )
        self._known: dict[str, Fetched] = {}

    def __enter__(self) -> "Fetcher":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get(self, address: str) -> Fetched:
        """The file at `address`. Raises FetchError or LimitError."""
        if address not in self._known:
            if not is_http(address) and self._is_remote:
                raise FetchError(f"{address} is no http(s) address, and the lesson is one of a server.")
            self._count()
            self._known[address] = self._over_http(address) if is_http(address) else _from_disk(address)
        return self._known[address]

    def _count(self) -> None:
        self._requested += 1
        if self._limits and self._requested > self._limits.files:
            raise LimitError(
                f"The lesson has more than {self._limits.files} files; the rest is not checked. "
                "Raise --max-files where you trust its server."
            )

    def _over_http(self, address: str) -> Fetched:
        deadline = self._network.due = time.monotonic() + MAX_SECONDS
        try:
            # httpx would read the body of a redirect whole, however large it is
            asked = self._client.build_request("GET", address)
            for redirects in range(MAX_REDIRECTS + 1):
                answer = self._client.send(asked, stream=True)
                try:
                    if answer.next_request is None:
                        return _read(answer, address, deadline, redirected=redirects > 0)
                    asked = answer.next_request
                finally:
                    answer.close()
        except (httpx.HTTPError, httpx.InvalidURL, ContentCodingError, UnicodeError) as error:
            if time.monotonic() >= deadline:
                raise FetchError(f"{address} took longer than {MAX_SECONDS:.0f} s.") from error
            raise FetchError(f"{address} cannot be fetched: {error}") from error
        raise FetchError(f"{address} is redirected more than {MAX_REDIRECTS} times.")


class _PublicNetwork(httpcore.SyncBackend):
    """Connects to public addresses, and to `trusted`, host and port, wherever that is."""

    def __init__(self, trusted: tuple[str, int] | None) -> None:
        super().__init__()
        self._trusted = trusted
        #: When the file that is fetched now has to be there.
        self.due = 0.0

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        if (host.lower(), port) != self._trusted:
            host = _public_address(host, port)
        return _DueStream(super().connect_tcp(host, port, timeout, local_address, socket_options), self)

    def seconds_left(self, timeout: float | None) -> float:
        """How long the next step may take. Raises httpcore.ReadTimeout."""
        left_seconds = self.due - time.monotonic()
        if left_seconds <= 0:
            raise httpcore.ReadTimeout
        return left_seconds if timeout is None else min(timeout, left_seconds)


class _DueStream(httpcore.NetworkStream):
    """A connection whose reads end with the time of the file: each byte of a dripping header would renew a timeout."""

    def __init__(self, stream: httpcore.NetworkStream, network: _PublicNetwork) -> None:
        self._stream, self._network = stream, network

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._network.seconds_left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._network.seconds_left(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left_seconds = self._network.seconds_left(timeout)
        return _DueStream(self._stream.start_tls(ssl_context, server_hostname, left_seconds), self._network)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _public_address(host: str, port: int) -> str:
    try:
        return public_addresses(host, port)[0]
    except PrivateAddressError as error:
        raise httpcore.ConnectError(f"{host} is a private address, and not the one that was asked for") from error
    except OSError as error:
        raise httpcore.ConnectError(f"{host} has no address") from error


def _origin(address: str) -> tuple[str, int] | None:
    parts = urlsplit(address)
    if not is_http(address) or parts.hostname is None:
        return None
    return parts.hostname.lower(), parts.port or (443 if parts.scheme == "https" else 80)


def _read(answer: httpx.Response, address: str, deadline: float, *, redirected: bool) -> Fetched:
    answer.raise_for_status()
    coding = answer.headers.get("Content-Encoding", "identity")
    limit = MAX_BYTES if coding.strip().lower() in ("", "identity") else MAX_DECOMPRESSED_BYTES
    data = bytearray()
    for block in decoded(coding, answer.iter_raw(), limit):
        data += block
        if len(data) > limit:
            raise FetchError(f"{address} is larger than {limit >> 20} MiB.")
        if time.monotonic() > deadline:
            raise FetchError(f"{address} took longer than {MAX_SECONDS:.0f} s.")
    return Fetched(bytes(data), {k.lower(): v for k, v in answer.headers.items()}, redirected)


def is_http(address: str) -> bool:
    return urlsplit(address).scheme in ("http", "https")


def resolved(base: str, uri: str) -> str:
    """Where `uri` points to, written in the playlist at `base`."""
    if is_http(base) or is_http(uri):
        return urljoin(base, uri)
    return str(Path(base).parent / unquote(uri.partition("?")[0]))


def _from_disk(address: str) -> Fetched:
    try:
        # a FIFO would wait for its writer for ever, and a device never ends
        descriptor = os.open(address, os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise FetchError(f"{address} is no regular file.")
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise FetchError(f"{address} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise FetchError(f"{address!r} cannot be read: {error}.") from error
    if len(data) > MAX_BYTES:
        raise FetchError(f"{address} is larger than {MAX_BYTES >> 20} MiB.")
    return Fetched(data)
