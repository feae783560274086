"""Real servers for every test that wants one: started when first asked for, gone when the tests are over."""

import functools
import os
import signal
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from sqlalchemy import Engine

from local.postgres import Postgres
from local.rabbitmq import RabbitMq
from local.s3 import S3
from tests.queues import delete_virtual_host, make_virtual_host, queue_depths

_TEMPLATE = "migrated"


def pytest_configure() -> None:
    # to be ended by a signal is as good a reason to stop the servers as Ctrl-C
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(autouse=True)
def without_settings_of_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test must neither fail for what the caller has set, nor touch the server it names."""
    for name in list(os.environ):
        if name.startswith("NOUBA_") and not name.startswith("NOUBA_LOCAL_"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """The PostgreSQL of all tests: make databases in it, but do not stop it."""
    server = Postgres(tmp_path_factory.mktemp("postgres"), durable=False)
    try:
        server.start()
        yield server
    finally:
        server.destroy()


@pytest.fixture(scope="session")
def rabbitmq_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMq]:
    """The RabbitMQ of all tests: make virtual hosts in it, but do not stop it."""
    server = RabbitMq(tmp_path_factory.mktemp("rabbitmq"))
    try:
        server.start()
        yield server
    finally:
        server.destroy()


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """The S3 server of all tests, with the bucket `nouba`: use keys of your own, but do not stop it."""
    server = S3(tmp_path_factory.mktemp("s3"))
    try:
        server.start()
        yield server
    finally:
        server.destroy()


@pytest.fixture
def database_url(migrated_server: Postgres) -> Iterator[str]:
    """A database with the newest schema and nothing in it, for one test."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    _administer(migrated_server, f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}")
    yield migrated_server.url_of(name)
    # whatever the test left connected must not keep it
    _administer(migrated_server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """Connections to a database of one test."""
    from shared.runtime.database import build_engine

    engine = build_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def migrated_server(postgres_server: Postgres) -> Postgres:
    """The PostgreSQL of all tests with a migrated database in it, which is faster to copy than to migrate."""
    from shared.runtime.migrations import migrate

    _administer(postgres_server, f"CREATE DATABASE {_TEMPLATE}")
    migrate(postgres_server.url_of(_TEMPLATE))
    return postgres_server


@pytest.fixture
def rabbitmq_url(rabbitmq_server: RabbitMq) -> Iterator[str]:
    """An empty virtual host for one test."""
    url = make_virtual_host(rabbitmq_server)
    yield url
    delete_virtual_host(rabbitmq_server, url)


@pytest.fixture(name="queue_depths")
def _queue_depths(rabbitmq_server: RabbitMq) -> Callable[[str], dict[str, int]]:
    """`queue_depths(rabbitmq_url)`: how many messages each queue holds now."""
    return functools.partial(queue_depths, rabbitmq_server)


@pytest.fixture
def own_postgres(tmp_path: Path) -> Iterator[Postgres]:
    """A PostgreSQL for one test to `kill()` and `start()` again; its database `nouba` has the newest schema."""
    from shared.runtime.migrations import migrate

    server = Postgres(tmp_path / "postgres")
    try:
        server.start()
        migrate(server.url)
        yield server
    finally:
        server.destroy()


@pytest.fixture
def own_rabbitmq(tmp_path: Path) -> Iterator[RabbitMq]:
    """A RabbitMQ for one test to `kill()` and `start()` again."""
    server = RabbitMq(tmp_path / "rabbitmq")
    try:
        server.start()
        yield server
    finally:
        server.destroy()


def _administer(server: Postgres, statement: str) -> None:
    with closing(psycopg2.connect(server.url_of("postgres"))) as connection:
        connection.autocommit = True
        connection.cursor().execute(statement)
