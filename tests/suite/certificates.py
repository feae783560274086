"""Reads the certificates of httpx once a process.

Every `httpx.get` makes a client, and every client reads 140 certificates: 20 ms of CPU, which a test that polls a
server spends fifty times a second, although the servers of the tests speak plain HTTP.
"""

import functools

import httpx
from httpx._transports import default


def pytest_configure() -> None:
    # the same arguments give the same context; a change of SSL_CERT_FILE within a test is not seen
    default.create_ssl_context = functools.cache(httpx.create_ssl_context)  # type: ignore[attr-defined]
