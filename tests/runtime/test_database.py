"""Connections lead to a server that takes writes, waits end at a fixed time, and useless connections are dropped."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import psycopg2
import pytest
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.exc import DBAPIError, OperationalError

from local.postgres import Postgres
from shared.runtime.database import RetryingEngine, build_engine, connect_within, fetch_all
from tests.standby import port_of, start_standby
from tests.tcp_proxy import TcpProxy
from tests.waiting import wait_until


@pytest.fixture
def standby(own_postgres: Postgres, tmp_path: Path) -> Iterator[Postgres]:
    standby = start_standby(own_postgres, tmp_path / "standby")
    yield standby
    standby.destroy()


def through(port: int, url: str, **options: str) -> str:
    """`url` with another port."""
    more = "?" + "&".join(f"{name}={value}" for name, value in options.items()) if options else ""
    return url.replace(f":{urlsplit(url).port}/", f":{port}/") + more


def write(engine: Engine) -> int:
    """Write a row, and return the port of the server that took it."""
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS written (at timestamptz DEFAULT now())")
        connection.exec_driver_sql("INSERT INTO written DEFAULT VALUES")
        return int(connection.exec_driver_sql("SELECT inet_server_port()").scalar_one())


def test_of_several_hosts_the_one_that_takes_writes_is_used(own_postgres: Postgres, standby: Postgres) -> None:
    url = own_postgres.url
    both = url.replace(f":{port_of(own_postgres)}/", f":{port_of(standby)},127.0.0.1:{port_of(own_postgres)}/")

    engine = build_engine(both)

    assert write(engine) == port_of(own_postgres)
    engine.dispose()


def test_a_standby_is_away_and_the_primary_is_found_when_the_address_leads_there(
    own_postgres: Postgres, standby: Postgres
) -> None:
    with TcpProxy(port_of(own_postgres)) as proxy:
        engine = build_engine(through(proxy.port, own_postgres.url), pool_size=3)
        connections = [engine.connect() for _ in range(3)]
        for connection in connections:
            connection.close()

        proxy.move(port_of(standby))
        with pytest.raises(OperationalError):
            write(engine)
        with pytest.raises(OperationalError, match="read-only"):
            write(engine)

        proxy.move(port_of(own_postgres))
        assert write(engine) == port_of(own_postgres)
        engine.dispose()


def test_one_refused_write_drops_every_connection_to_the_standby(own_postgres: Postgres, standby: Postgres) -> None:
    # Given connections to a standby, which only reads have used
    with TcpProxy(port_of(standby)) as proxy:
        engine = build_engine(through(proxy.port, own_postgres.url, target_session_attrs="any"), pool_size=3)
        connections = [engine.connect() for _ in range(3)]
        for connection in connections:
            assert connection.exec_driver_sql("SELECT pg_is_in_recovery()").scalar_one() is True
            connection.close()
        # and an address that leads to the primary for anyone who connects from now on
        proxy.target = port_of(own_postgres)

        with pytest.raises(DBAPIError) as refused:
            write(engine)

        assert refused.value.connection_invalidated
        assert [write(engine) for _ in range(3)] == [port_of(own_postgres)] * 3
        with engine.connect() as one, engine.connect() as two, engine.connect() as three:
            places = [c.exec_driver_sql("SELECT pg_is_in_recovery()").scalar_one() for c in (one, two, three)]
        assert places == [False] * 3
        engine.dispose()


def test_connections_that_ended_while_they_were_idle_fail_no_request(database_url: str) -> None:
    # Given a pool of idle connections that the server has ended, as a failover does
    engine = build_engine(database_url, pool_size=3, application="idle pool")
    connections = [engine.connect() for _ in range(3)]
    for connection in connections:
        connection.exec_driver_sql("SELECT 1")
    for connection in connections:
        connection.close()
    with closing(psycopg2.connect(database_url)) as other, other.cursor() as cursor:
        other.autocommit = True
        ended = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'idle pool'"
        cursor.execute(ended)
        assert cursor.fetchone() == (3,)

        def are_gone() -> bool:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'idle pool'")
            return cursor.fetchone() == (0,)

        wait_until(are_gone)

    # When as many requests come, then none fails
    for _ in range(3):
        with engine.connect() as connection:
            assert connection.exec_driver_sql("SELECT 1").scalar_one() == 1
    engine.dispose()


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 1 / 0",
        "SELECT no_such_column",
        "INSERT INTO schema_that_is_not_there.table_ VALUES (1)",
        "SELECT pg_terminate_backend(pg_backend_pid())",
        "DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '25006'; END $$",
    ],
)
def test_what_fails_by_psycopg2s_own_cursor_fails_as_by_sqlalchemys(database_url: str, statement: str) -> None:
    def fail(execute: Callable[[Connection], object]) -> tuple[type[DBAPIError], str | None, bool, int]:
        engine = build_engine(database_url, pool_size=2, autocommit=True)
        with engine.connect() as one, engine.connect() as two:
            two.exec_driver_sql("SELECT 1")
            with pytest.raises(DBAPIError) as caught:
                execute(one)
        # the next caller has a connection that works, whatever became of this one
        with engine.connect() as connection:
            (row,) = fetch_all(connection, "SELECT 1 AS one", ())
            assert row.one == 1
        left = engine.pool.checkedin()  # type: ignore[attr-defined]
        engine.dispose()
        error = caught.value
        return type(error), getattr(error.orig, "pgcode", None), error.connection_invalidated, left

    raw = fail(lambda connection: fetch_all(connection, statement, ()))
    assert raw == fail(lambda connection: connection.exec_driver_sql(statement))


@pytest.mark.parametrize("value", ["a\0b", "\ud800"], ids=["NUL", "half of a character"])
def test_what_psycopg2_refuses_before_it_asks_is_the_same_error_by_either_way(database_url: str, value: str) -> None:
    engine = build_engine(database_url, autocommit=True)
    ways: tuple[Callable[..., object], ...] = (Connection.exec_driver_sql, fetch_all)
    for execute in ways:
        with engine.connect() as connection:
            with pytest.raises(ValueError):  # noqa: PT011 - psycopg2's own words
                execute(connection, "SELECT %s", (value,))
            assert connection.scalar(text("SELECT 1")) == 1
    engine.dispose()


def test_what_psycopg2s_own_cursor_wrote_in_a_transaction_is_committed_with_it(database_url: str) -> None:
    engine = build_engine(database_url)
    with engine.connect() as connection:
        fetch_all(connection, "CREATE TABLE written_raw (id integer)", ())
        connection.rollback()
        fetch_all(connection, "CREATE TABLE written_raw (id integer)", ())
        connection.commit()
    with engine.connect() as connection:
        assert fetch_all(connection, "DROP TABLE written_raw", ()) == []
        connection.commit()
    engine.dispose()


def test_a_caller_that_is_interrupted_in_a_query_leaves_no_connection_behind(database_url: str) -> None:
    """dramatiq ends a job that lasts too long by an exception that is not an error, at any line."""
    engine = build_engine(database_url, autocommit=True)

    class Interrupt(BaseException):
        pass

    def interrupt(*_: object) -> None:
        raise Interrupt

    with engine.connect() as connection:
        event.listen(engine, "before_cursor_execute", interrupt)
        with pytest.raises(Interrupt):
            fetch_all(connection, "SELECT 1", ())
        event.remove(engine, "before_cursor_execute", interrupt)
        assert connection.invalidated
    engine.dispose()


def test_a_database_that_was_made_read_only_is_written_to_as_soon_as_it_may_be(database_url: str) -> None:
    engine = build_engine(database_url, pool_size=2)
    name = urlsplit(database_url).path.lstrip("/")
    write(engine)

    _administer(database_url, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    _terminate(database_url, name)
    for _ in range(3):
        with pytest.raises(DBAPIError):
            write(engine)

    _administer(database_url, f"ALTER DATABASE {name} RESET default_transaction_read_only")
    write(engine)
    engine.dispose()


def test_retried_work_reaches_the_primary(own_postgres: Postgres, standby: Postgres) -> None:
    with TcpProxy(port_of(standby)) as proxy:
        engine = build_engine(through(proxy.port, own_postgres.url, target_session_attrs="any"), pool_size=1)
        attempts = []

        def work(connection: object) -> int:
            attempts.append(connection)
            proxy.target = port_of(own_postgres)
            connection.exec_driver_sql("CREATE TABLE attempted ()")  # type: ignore[attr-defined]
            return len(attempts)

        assert RetryingEngine(engine).run(work) == 2
        engine.dispose()


def test_a_server_that_stops_after_the_connect_is_not_waited_for(own_postgres: Postgres) -> None:
    engine = build_engine(own_postgres.url, connect_timeout_seconds=2)
    with engine.connect():
        pass
    server = psutil.Process(own_postgres.pid)
    for process in [server, *server.children(recursive=True)]:
        process.suspend()
    began = time.monotonic()
    try:
        with pytest.raises(OperationalError), connect_within(engine, 1.0) as connection:
            connection.exec_driver_sql("SELECT 1")
        with pytest.raises(OperationalError), connect_within(engine, 1.0):
            pass
    finally:
        for process in [server, *server.children(recursive=True)]:
            process.resume()

    assert time.monotonic() - began < 6
    wait_until(lambda: write(engine), 20)
    engine.dispose()


def test_a_server_that_accepts_and_says_nothing_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        engine = build_engine(f"postgresql://nouba@127.0.0.1:{silent.getsockname()[1]}/x", connect_timeout_seconds=2)
        began = time.monotonic()
        with pytest.raises(OperationalError, match="timeout"):
            engine.connect()
    assert time.monotonic() - began < 4


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg2"])
def test_every_scheme_of_the_address_is_understood_and_the_limits_hold(database_url: str, scheme: str) -> None:
    engine = build_engine(database_url.replace("postgresql", scheme), statement_timeout_ms=1234)
    with engine.connect() as connection:
        connection.rollback()
        shown = connection.exec_driver_sql(
            "SELECT current_setting('statement_timeout'), current_setting('application_name'),"
            " current_setting('jit') AS jit, current_setting('max_parallel_workers_per_gather') AS workers"
        ).one()
    engine.dispose()
    assert (shown[0], shown[1]) == ("1234ms", "nouba")
    assert (shown.jit, shown.workers) == ("off", "0")


def _administer(url: str, statement: str) -> None:
    with closing(psycopg2.connect(url, options="-c default_transaction_read_only=off")) as connection:
        connection.autocommit = True
        connection.cursor().execute(statement)


def _terminate(url: str, name: str) -> None:
    # not our own, and not from it
    with closing(psycopg2.connect(url.replace(f"/{name}", "/postgres"))) as connection:
        connection.autocommit = True
        connection.cursor().execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,)
        )
