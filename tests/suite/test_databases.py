"""Each test's database is new, and gone after the test."""

from contextlib import closing

import psycopg2

from local.postgres import Postgres
from tests.suite.servers import DatabaseSupply
from tests.waiting import wait_until


def test_a_database_is_new_and_is_dropped_when_it_is_given_back(migrated_server: Postgres) -> None:
    supply = DatabaseSupply(migrated_server)
    try:
        first, second = supply.take(), supply.take()
        assert first != second
        with closing(psycopg2.connect(migrated_server.url_of(first))) as left_open:
            left_open.cursor().execute("INSERT INTO users DEFAULT VALUES")
            supply.give_back(first)
            wait_until(lambda: first not in databases(migrated_server))
        assert second in databases(migrated_server)
        with closing(psycopg2.connect(migrated_server.url_of(second))) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM users")
            assert cursor.fetchone() == (0,)
        supply.give_back(second)
        wait_until(lambda: second not in databases(migrated_server))
    finally:
        supply.close()


def databases(server: Postgres) -> set[str]:
    with closing(psycopg2.connect(server.url_of("postgres"))) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT datname FROM pg_database")
        return {name for (name,) in cursor}
