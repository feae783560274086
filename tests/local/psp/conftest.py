"""The simulated bank on a real port."""

from collections.abc import Iterator

import httpx
import pytest

from local.psp.satim_bank import Bank
from local.psp.server import REST, simulator
from tests.webhook_gateway.providers.servers import serving


class Clock:
    """Stands still until a test moves it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def bank_url(clock: Clock) -> Iterator[str]:
    bank = Bank(auto_cancel_seconds=60, clock=clock)
    app = simulator(bank, username="merchant", password="merchant-password", chargily_secrets=("test_sk_a",))
    with serving(app) as url:
        yield url


@pytest.fixture
def bank(bank_url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=bank_url + REST) as client:
        yield client
