"""What the tests of the console share: its database, and an operator who has entered."""

import pytest

from tests.console.clients import Person, console_of
from tests.webhook_gateway.processes import Database


@pytest.fixture
def database(database_url: str) -> Database:
    return Database(database_url)


@pytest.fixture
def operator(database_url: str, rabbitmq_url: str) -> Person:
    person = Person(console_of(database_url, rabbitmq_url))
    person.enter()
    return person
