"""A database, and a worker on it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.webhook_gateway.events_out.processes import RunningEvents
from tests.webhook_gateway.processes import Database


@pytest.fixture
def database(database_url: str) -> Database:
    return Database(database_url)


@pytest.fixture
def worker(database_url: str, rabbitmq_url: str, tmp_path: Path) -> Iterator[RunningEvents]:
    with RunningEvents(tmp_path / "events.log", database_url, rabbitmq_url) as running:
        yield running
