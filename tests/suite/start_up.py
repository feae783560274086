"""Saves what every client and every process would otherwise do anew at its start.

Every `httpx.get` makes a client that reads 140 certificates: 20 ms of CPU, which a test that polls a server spends
fifty times a second, although the servers of the tests speak plain HTTP. And a `nouba` process that may not keep
compiled modules compiles a sixth of its start.
"""

import functools
import os
import sys

import httpx
from httpx._transports import default


def pytest_configure() -> None:
    # the same arguments give the same context; a change of SSL_CERT_FILE within a test is not seen
    default.create_ssl_context = functools.cache(httpx.create_ssl_context)  # type: ignore[attr-defined]
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
