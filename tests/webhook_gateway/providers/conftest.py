"""Banks on this machine, for the provider that has to be asked."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from flask import Flask

from local.psp.satim_bank import Bank
from local.psp.server import REST, simulator
from tests.webhook_gateway.providers.servers import serving

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
