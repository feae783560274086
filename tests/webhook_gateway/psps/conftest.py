"""Banks on this machine, for the provider that has to be asked."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from flask import Flask
from werkzeug.serving import make_server

from local.psp.bank import Bank
from local.psp.server import REST, simulator

Serve = Callable[[Flask], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serves an application until the end of the test; answers with its address."""
    with ExitStack() as running:
        yield lambda app: running.enter_context(serving(app))


@pytest.fixture
def bank_url(serve: Serve) -> str:
    """Where SATIM's calls are answered: by the simulator, for `merchant` with `merchant-password`."""
    return serve(simulator(Bank(), username="merchant", password="merchant-password")) + REST


@contextmanager
def serving(app: Flask) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
