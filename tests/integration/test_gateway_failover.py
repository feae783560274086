"""A gateway whose database is a standby, read-only, or behind a full pooler: webhooks are kept, and settled later."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psycopg2
import pytest

from local.postgres import Postgres
from tests.pgbouncer import pgbouncer_before
from tests.standby import port_of, start_standby
from tests.tcp_proxy import TcpProxy
from tests.waiting import wait_until
from tests.webhook_gateway.processes import Database, RunningGateway, RunningWorker, deliver, paid

#: Payments of somebody whom the school does not know would wait.
USER = 7
#: What a failover may cost after the database takes writes again.
RECOVERY_SECONDS = 20
#: Enough for a gateway and a worker; everything else is as PgBouncer has it.
POOL_SIZE = 60
#: Providers wait for 10 s and more.
ANSWER_SECONDS = 6


def readiness(gateway: RunningGateway) -> dict[str, object]:
    answer = httpx.get(f"{gateway.url}/readyz", timeout=ANSWER_SECONDS)
    found = dict(answer.json())
    assert (answer.status_code == 200) == (found["status"] != "not ready")
    return found


def deliver_all(gateway: RunningGateway, count: int) -> list[int]:
    """The answers to `count` webhooks; each within its deadline."""
    with httpx.Client(base_url=gateway.url, timeout=ANSWER_SECONDS) as client:
        return [deliver(client, paid(user_id=USER)).status_code for _ in range(count)]


def is_settled(database: Database, count: int) -> bool:
    """Whether all of `count` webhooks are in the inbox once, and booked."""
    return database.rows("SELECT state, count(*) FROM webhook_events GROUP BY 1") == [("applied", count)]


@pytest.fixture
def standby(own_postgres: Postgres, tmp_path: Path) -> Iterator[Postgres]:
    standby = start_standby(own_postgres, tmp_path / "standby")
    yield standby
    standby.destroy()


@pytest.fixture
def proxy(own_postgres: Postgres) -> Iterator[TcpProxy]:
    with TcpProxy(port_of(own_postgres)) as proxy:
        yield proxy


@contextlib.contextmanager
def running(
    url: str, rabbitmq_url: str, folder: Path, direct_url: str
) -> Iterator[tuple[RunningGateway, RunningWorker]]:
    """A gateway with a spool, and its worker."""
    with contextlib.closing(psycopg2.connect(direct_url)) as connection, connection:
        connection.cursor().execute("INSERT INTO users (id) VALUES (%s)", (USER,))
    with (
        RunningGateway(folder / "gateway", url, rabbitmq_url, NOUBA_GATEWAY_SPOOL_DIR=str(folder / "spool")) as gateway,
        RunningWorker(folder / "worker", url, rabbitmq_url) as worker,
    ):
        yield gateway, worker


@pytest.mark.parametrize("options", ["", pytest.param("?target_session_attrs=any", marks=pytest.mark.slow)])
def test_moved_to_a_standby_and_back_everything_is_settled_and_nothing_was_restarted(
    own_postgres: Postgres, standby: Postgres, proxy: TcpProxy, rabbitmq_url: str, tmp_path: Path, options: str
) -> None:
    url = own_postgres.url.replace(f":{port_of(own_postgres)}/", f":{proxy.port}/") + options
    database = Database(own_postgres.url)
    with running(url, rabbitmq_url, tmp_path, database.url) as (gateway, worker):
        assert deliver_all(gateway, 5) == [200] * 5
        wait_until(lambda: is_settled(database, 5), 30)

        # When the address leads to the standby
        proxy.move(port_of(standby))
        answers = deliver_all(gateway, 20)
        wait_until(lambda: readiness(gateway)["status"] == "spooling", 10)
        assert readiness(gateway)["spool_events"] == 20
        assert "postgresql is back" not in gateway.log

        # And to the primary again, for anyone who connects from now on
        proxy.target = port_of(own_postgres)
        if not options:
            proxy.cut()
        began = time.monotonic()
        wait_until(lambda: is_settled(database, 25), RECOVERY_SECONDS)
        print(f"settled {time.monotonic() - began:.1f} s after the move back")

        assert answers == [200] * 20
        wait_until(lambda: readiness(gateway)["status"] == "ready", 10)
        assert deliver_all(gateway, 5) == [200] * 5
        wait_until(lambda: is_settled(database, 30), 20)
        # each of the two processes found it once
        assert gateway.log.count("postgresql is back") <= 2
        assert "Traceback" not in gateway.log
        assert worker.process.poll() is None


@pytest.mark.slow
def test_a_database_that_was_made_read_only_and_writable_again(
    own_postgres: Postgres, rabbitmq_url: str, tmp_path: Path
) -> None:
    database = Database(own_postgres.url)
    with running(own_postgres.url, rabbitmq_url, tmp_path, database.url) as (gateway, _):
        assert deliver_all(gateway, 5) == [200] * 5

        database.execute("ALTER DATABASE nouba SET default_transaction_read_only = on")
        database.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'nouba' AND pid <> pg_backend_pid()"
        )
        assert deliver_all(gateway, 20) == [200] * 20
        assert readiness(gateway)["status"] == "spooling"

        with contextlib.closing(psycopg2.connect(own_postgres.url_of("postgres"))) as connection:
            connection.autocommit = True
            connection.cursor().execute("ALTER DATABASE nouba RESET default_transaction_read_only")
        wait_until(lambda: is_settled(database, 25), RECOVERY_SECONDS)
        wait_until(lambda: readiness(gateway)["status"] == "ready", 10)


@pytest.mark.slow
def test_sessions_that_were_made_read_only_are_given_up(
    own_postgres: Postgres, rabbitmq_url: str, tmp_path: Path
) -> None:
    # Given open connections that the server now refuses to write for, without cutting them
    database = Database(own_postgres.url)
    with running(own_postgres.url, rabbitmq_url, tmp_path, database.url) as (gateway, _):
        assert deliver_all(gateway, 5) == [200] * 5
        database.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        database.rows("SELECT pg_reload_conf()")

        wait_until(lambda: readiness(gateway)["database"] is False, 10)
        assert deliver_all(gateway, 5) == [200] * 5

        with contextlib.closing(
            psycopg2.connect(own_postgres.url, options="-c default_transaction_read_only=off")
        ) as connection:
            connection.autocommit = True
            connection.cursor().execute("ALTER SYSTEM RESET default_transaction_read_only")
            connection.cursor().execute("SELECT pg_reload_conf()")
        wait_until(lambda: is_settled(database, 10), RECOVERY_SECONDS)


@pytest.mark.slow
def test_behind_a_pgbouncer_whose_pool_is_taken_webhooks_are_answered_from_the_spool(
    database_url: str, rabbitmq_url: str, tmp_path: Path
) -> None:
    database = Database(database_url)
    with (
        pgbouncer_before(database_url, tmp_path / "pgbouncer", default_pool_size=POOL_SIZE) as url,
        contextlib.ExitStack() as sessions,
    ):
        # Given a pool that others hold
        for _ in range(POOL_SIZE):
            session = sessions.enter_context(contextlib.closing(psycopg2.connect(url)))
            session.cursor().execute("SELECT 1")

        with running(url, rabbitmq_url, tmp_path, database.url) as (gateway, _):
            # When webhooks come, then each is answered in time, and so is the question how it stands
            began = time.monotonic()
            assert deliver_all(gateway, 20) == [200] * 20
            assert time.monotonic() - began < 2 * ANSWER_SECONDS
            found = readiness(gateway)
            assert (found["status"], found["database"], found["spool_events"]) == ("spooling", False, 20)

            # And once the pool is free, all are settled
            sessions.close()
            wait_until(lambda: is_settled(database, 20), RECOVERY_SECONDS)
            wait_until(lambda: readiness(gateway)["status"] == "ready", 10)


def test_hints_are_answered_at_once_while_the_pool_is_taken(database_url: str, tmp_path: Path) -> None:
    with contextlib.ExitStack() as running_until_the_end:
        url = running_until_the_end.enter_context(
            pgbouncer_before(database_url, tmp_path / "pgbouncer", default_pool_size=1)
        )
        holder = running_until_the_end.enter_context(contextlib.closing(psycopg2.connect(url)))
        holder.cursor().execute("SELECT 1")
        settings = {"NOUBA_GATEWAY_SPOOL_DIR": str(tmp_path / "spool"), "NOUBA_GATEWAY_PROCESSES": "1"}
        gateway = running_until_the_end.enter_context(RunningGateway(tmp_path / "gateway", url, **settings))
        assert deliver_all(gateway, 3) == [200] * 3

        # payers who come back from the bank; nobody signs that
        hints = [
            httpx.get(f"{gateway.url}/webhooks/satim", params={"orderId": f"order-{number}"}, timeout=ANSWER_SECONDS)
            for number in range(5)
        ]

        assert {hint.status_code for hint in hints} <= {200, 303}
        assert max(hint.elapsed.total_seconds() for hint in hints) < 1
        assert readiness(gateway)["spool_events"] == 3 + 5


@pytest.mark.slow
def test_a_gateway_whose_pgbouncer_loses_its_server_spools_and_recovers(
    own_postgres: Postgres, rabbitmq_url: str, tmp_path: Path
) -> None:
    database = Database(own_postgres.url)
    with (
        pgbouncer_before(own_postgres.url, tmp_path / "pgbouncer", default_pool_size=POOL_SIZE) as url,
        running(url, rabbitmq_url, tmp_path, database.url) as (gateway, _),
    ):
        assert deliver_all(gateway, 5) == [200] * 5
        own_postgres.kill()
        assert deliver_all(gateway, 10) == [200] * 10
        assert readiness(gateway)["status"] == "spooling"
        own_postgres.start()
        assert urlsplit(own_postgres.url).port == urlsplit(database.url).port
        # PgBouncer waits server_login_retry (15 s) after a failed login
        wait_until(lambda: is_settled(database, 15), 15 + RECOVERY_SECONDS)
