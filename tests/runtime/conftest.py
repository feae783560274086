"""A RabbitMQ node and a PostgreSQL server that the tests of the plumbing may hurt, and workers to kill."""

import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from local.postgres import Postgres
from shared.runtime.database import build_engine
from shared.runtime.migrations import migrate
from tests.runtime.rabbitmq import Node, VirtualHost


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    node = Node(tmp_path_factory.mktemp("rabbitmq"))
    node.start()
    yield node
    node.stop()


@pytest.fixture
def vhost(node: Node) -> Iterator[VirtualHost]:
    node.start()
    vhost = node.new_virtual_host()
    yield vhost
    node.start()
    vhost.delete()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    postgres = Postgres(tmp_path_factory.mktemp("postgres"), durable=False)
    postgres.start()
    migrate(postgres.url)
    yield postgres
    postgres.stop()


@pytest.fixture
def database_url(postgres: Postgres) -> Iterator[str]:
    name = f"test_{uuid.uuid4().hex[:8]}"
    administrator = build_engine(postgres.url).execution_options(isolation_level="AUTOCOMMIT")
    with administrator.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE nouba"))
    yield postgres.url_of(name)
    with administrator.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    administrator.dispose()


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = build_engine(database_url)
    yield engine
    engine.dispose()


Run = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Start a program of `tests.runtime.programs`; whatever still runs at the end is killed."""
    processes: list[subprocess.Popen[str]] = []

    def start(program: str, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-m", f"tests.runtime.programs.{program}", *arguments],
            env={**os.environ, **environment},
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()
