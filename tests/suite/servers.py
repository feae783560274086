"""Real servers for the tests that need one: started on demand, shared where tests cannot harm each other.

PostgreSQL and RabbitMQ are shared by all processes of the run, because each test has its own database and its own
virtual host. S3 is one server a process, because tests use the same keys in the same bucket. A test that kills a server
gets one of its own: a PostgreSQL from a copy of a prepared data folder, and a RabbitMQ that the process keeps for all
such tests. The owner of the run folder ends all servers.
"""

import functools
import signal
import subprocess
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import psycopg2
import pytest
from psycopg2 import connect

from local.postgres import Postgres
from local.rabbitmq import DEAD_LETTERS_STAY, RabbitMq
from local.s3 import S3
from local.saved_settings import SavedSettings
from local.unprivileged_user import unprivileged_account
from tests.queues import delete_virtual_host, make_virtual_host, queue_depths, virtual_host_to_hurt
from tests.suite.run_folder import RunFolder, run_folder

_TEMPLATE = "migrated"


def pytest_configure() -> None:
    # SIGTERM stops the servers as Ctrl-C does; and Ctrl-C works in the processes that tests start, also where a shell
    # that runs pytest in the background has it ignored
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)


@pytest.fixture(scope="session")
def test_run(request: pytest.FixtureRequest) -> RunFolder:
    """The folder that the processes of this test run share."""
    return run_folder(request.config)


@pytest.fixture(scope="session")
def postgres_server(test_run: RunFolder) -> Postgres:
    """The PostgreSQL of all tests: make databases in it, but do not stop it."""
    server = Postgres(test_run.shared / "postgres", durable=False, max_connections=500)
    with test_run.lock("postgres"):
        server.start()
    return server


@pytest.fixture(scope="session")
def rabbitmq_server(test_run: RunFolder) -> RabbitMq:
    """The RabbitMQ of all tests: make virtual hosts in it, but do not stop it."""
    server = RabbitMq(test_run.shared / "rabbitmq")
    with test_run.lock("rabbitmq"):
        server.start()
    return server


@pytest.fixture(scope="session")
def s3_server(test_run: RunFolder) -> S3:
    """The S3 server of all tests of this process, with the bucket `nouba`: use it, but do not stop it."""
    server = S3(test_run.own / "s3")
    server.start()
    return server


@pytest.fixture(scope="session")
def migrated_server(postgres_server: Postgres, test_run: RunFolder) -> Postgres:
    """The PostgreSQL of all tests with a migrated database in it, which is faster to copy than to migrate."""
    from shared.runtime.migrations import migrate

    with test_run.lock("migrated"):
        if not _has_database(postgres_server, _TEMPLATE):
            # renamed last, so that an interrupted migration is not taken for a finished one
            _administer(postgres_server, f"DROP DATABASE IF EXISTS {_TEMPLATE}_draft WITH (FORCE)")
            _administer(postgres_server, f"CREATE DATABASE {_TEMPLATE}_draft")
            migrate(postgres_server.url_of(f"{_TEMPLATE}_draft"))
            _administer(postgres_server, f"ALTER DATABASE {_TEMPLATE}_draft RENAME TO {_TEMPLATE}")
    return postgres_server


class DatabaseSupply:
    """A database for each test: while one test runs, a thread drops the last test's and makes the next one's."""

    def __init__(self, server: Postgres) -> None:
        self._server = server
        self._thread = ThreadPoolExecutor(1, "database supply")
        self._next = self._thread.submit(self._make)
        self._dropped: Future[None] | None = None

    def take(self) -> str:
        """The name of a database with the newest schema and nothing in it."""
        made, self._next = self._next, self._thread.submit(self._make)
        return made.result()

    def give_back(self, name: str) -> None:
        """Drop it, also where the test left a connection open."""
        drop = self._thread.submit(_administer, self._server, f"DROP DATABASE {name} WITH (FORCE)")
        before, self._dropped = self._dropped, drop
        if before:
            before.result()

    def close(self) -> None:
        """Make and drop no more: the run's owner destroys the server."""
        self._thread.shutdown(cancel_futures=True)

    def _make(self) -> str:
        name = f"test_{uuid.uuid4().hex[:12]}"
        _administer(self._server, f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE} STRATEGY FILE_COPY")
        return name


@pytest.fixture(scope="session")
def database_supply(migrated_server: Postgres) -> Iterator[DatabaseSupply]:
    """The databases of this process's tests."""
    supply = DatabaseSupply(migrated_server)
    yield supply
    supply.close()


@pytest.fixture
def database_url(migrated_server: Postgres, database_supply: DatabaseSupply) -> Iterator[str]:
    """A database with the newest schema and nothing in it, for one test."""
    name = database_supply.take()
    yield migrated_server.url_of(name)
    database_supply.give_back(name)


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


class OwnRabbitMq(RabbitMq):
    """A RabbitMQ whose address is that of one virtual host."""

    def __init__(self, folder: Path, url: str) -> None:
        super().__init__(folder)
        self.virtual_host = url.rpartition("/")[2]

    @property
    def url(self) -> str:
        return self.url_of(self.virtual_host)


class OwnPostgres(Postgres):
    """A PostgreSQL to kill: what it has committed survives that, since the kernel keeps what it was given to write."""

    def _options(self, port: int) -> list[str]:
        # only a power failure would need fsync; and what a killed server shares goes with its folder
        return [*super()._options(port), "--fsync=off", "--dynamic_shared_memory_type=mmap"]


@pytest.fixture
def own_postgres(test_run: RunFolder) -> Iterator[Postgres]:
    """A PostgreSQL for one test to `kill()` and `start()` again; its database `nouba` has the newest schema."""
    server = OwnPostgres(test_run.own / f"postgres-{uuid.uuid4().hex[:12]}")
    try:
        _copy_data(_prepared_data(test_run), server.folder)
        server.start()
        yield server
    finally:
        server.destroy()


@pytest.fixture(scope="session")
def spare_rabbitmq(test_run: RunFolder) -> RabbitMq:
    """The RabbitMQ of this process that its tests may kill, one after the other: start it before use."""
    return RabbitMq(test_run.own / "rabbitmq")


@pytest.fixture
def own_rabbitmq(spare_rabbitmq: RabbitMq) -> Iterator[RabbitMq]:
    """A RabbitMQ for one test to `kill()` and `start()` again, with a virtual host that no other test has used."""
    spare_rabbitmq.start()
    with virtual_host_to_hurt(spare_rabbitmq) as url:
        server = OwnRabbitMq(spare_rabbitmq.folder, url)
        policy = f"{server.management_url}/api/policies/{server.virtual_host}/dead-letters-stay"
        httpx.put(policy, json=DEAD_LETTERS_STAY, timeout=10).raise_for_status()
        yield server


def _prepared_data(run: RunFolder) -> Path:
    """The folder of a stopped PostgreSQL whose database `nouba` is migrated: copying it replaces initdb and migrate."""
    from shared.runtime.migrations import migrate

    folder = run.shared / "postgres-prepared"
    with run.lock("postgres-prepared"):
        if not (folder / "ready").exists():
            server = Postgres(folder)
            server.start()
            migrate(server.url)
            server.stop()
            (folder / "ready").touch()
    return folder


def _copy_data(prepared: Path, folder: Path) -> None:
    account = unprivileged_account()
    source, target = (account.make_folder(one / "files") for one in (prepared, folder))
    # with its owner, which PostgreSQL checks
    subprocess.run(["cp", "-a", source / "data", target / "data"], check=True, capture_output=True)
    password = str(SavedSettings(prepared / "server.json")["password"])
    SavedSettings(folder / "server.json").text("password", lambda: password)


def _has_database(server: Postgres, name: str) -> bool:
    with closing(psycopg2.connect(server.url_of("postgres"))) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
        return cursor.fetchone() is not None


def _administer(server: Postgres, statement: str) -> None:
    # not by `psycopg2.connect`, which a test may have replaced while the supply's thread runs
    with closing(connect(server.url_of("postgres"))) as connection:
        connection.autocommit = True
        connection.cursor().execute(statement)
