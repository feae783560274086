"""A database and a worker on it, shared by the tests of a module; each test has endpoints of its own."""

from collections.abc import Iterator

import pytest

from local.postgres import Postgres
from local.rabbitmq import RabbitMq
from tests.queues import delete_virtual_host, make_virtual_host
from tests.webhook_gateway.events_out.processes import RunningEvents
from tests.webhook_gateway.processes import Database, new_database


@pytest.fixture(scope="module")
def database(migrated_server: Postgres) -> Iterator[Database]:
    with new_database(migrated_server) as found:
        yield found


@pytest.fixture(scope="module")
def rabbitmq_url(rabbitmq_server: RabbitMq) -> Iterator[str]:
    url = make_virtual_host(rabbitmq_server)
    yield url
    delete_virtual_host(rabbitmq_server, url)


@pytest.fixture(scope="module")
def worker(database: Database, rabbitmq_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEvents]:
    log = tmp_path_factory.mktemp("events") / "log"
    with RunningEvents(log, database.url, rabbitmq_url) as running:
        yield running
        assert "Traceback" not in running.log


@pytest.fixture(autouse=True)
def _without_endpoints(database: Database) -> Iterator[None]:
    yield
    database.execute("DELETE FROM webhook_endpoints; DELETE FROM events")
