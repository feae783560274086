"""Saves what every client and every process would otherwise do anew at its start.

Every `httpx.get` makes a client that reads 140 certificates: 20 ms of CPU, which a test that polls a server spends
fifty times a second, although the servers of the tests speak plain HTTP. And a `nouba` process that may not keep
compiled modules compiles a sixth of its start. Modules and collected tests stay until the end, so that a search
for garbage among them finds none.
"""

import functools
import gc
import os
import sys
from collections.abc import Generator

import httpx
import pytest
from httpx._transports import default


def pytest_configure() -> None:
    # the same arguments give the same context; a change of SSL_CERT_FILE within a test is not seen
    default.create_ssl_context = functools.cache(httpx.create_ssl_context)  # type: ignore[attr-defined]
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection() -> Generator[None, object, object]:
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()
