"""What the tests of the console share: its database, and an operator who has entered."""

from collections.abc import Iterator

import pytest

from tests.console.clients import Person, console_of
from tests.console.oidc_server import OidcServer, running_provider
from tests.webhook_gateway.processes import Database


@pytest.fixture
def database(database_url: str) -> Database:
    return Database(database_url)


@pytest.fixture
def operator(database_url: str, rabbitmq_url: str) -> Person:
    person = Person(console_of(database_url, rabbitmq_url))
    person.enter()
    return person


@pytest.fixture(scope="session")
def oidc_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OidcServer]:
    with running_provider(tmp_path_factory.mktemp("oidc") / "log") as server:
        yield server


@pytest.fixture
def provider(oidc_server: OidcServer) -> Iterator[OidcServer]:
    """The provider, whose answers a test may change."""
    yield oidc_server
    oidc_server.wire.restore()
