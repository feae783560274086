"""A bench over a real database and a real simulator."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from local.psp.satim_bank import Bank
from local.psp.server import simulator
from shared.runtime.database import build_engine
from tests.webhook_gateway.providers.servers import serving
from tests.webhook_gateway.reconciliation.harness import KEY, MERCHANT, STRIPE_KEY, Bench


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """As many connections as the most threads of a test."""
    engine = build_engine(database_url, pool_size=17)
    yield engine
    engine.dispose()


@pytest.fixture
def simulator_url() -> Iterator[str]:
    with serving(simulator(Bank(), **MERCHANT, chargily_secrets=(KEY,), stripe_keys=(STRIPE_KEY,))) as url:
        yield url


@pytest.fixture
def bench(engine: Engine, simulator_url: str) -> Bench:
    return Bench(engine, simulator_url)
