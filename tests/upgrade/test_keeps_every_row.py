"""An upgrade from the first release changes no row that is there."""

import contextlib
import json
import os
import subprocess
from collections import Counter
from pathlib import Path

import httpx
import psycopg2
import pytest
from psycopg2 import sql

from shared.runtime.migrations import migrate
from tests.upgrade.previous_release import previous_release
from tests.waiting import wait_until
from tests.webhook_gateway.processes import NOUBA, Database, RunningGateway, RunningWorker, deliver, paid

pytestmark = pytest.mark.slow

#: The first one after 0.1.
AFTER_0_1 = "0017_add_payment_objects.py"
USER = 7


def rows_of(url: str, columns: dict[str, list[str]] | None = None) -> dict[str, Counter[str]]:
    """Every row of every table as JSON, or of the tables and columns that are given."""
    with contextlib.closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        if columns is None:
            columns = columns_of(url)
        found = {}
        for table, names in columns.items():
            given = sql.SQL(", ").join(map(sql.Identifier, names))
            cursor.execute(
                sql.SQL("SELECT to_jsonb(found)::text FROM (SELECT {} FROM {}) AS found").format(
                    given, sql.Identifier(table)
                )
            )
            found[table] = Counter(row for (row,) in cursor.fetchall())
        return found


def columns_of(url: str) -> dict[str, list[str]]:
    with contextlib.closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT table_name, array_agg(column_name::text ORDER BY ordinal_position) FROM information_schema.columns
            JOIN information_schema.tables USING (table_schema, table_name)
            WHERE table_schema = 'public' AND table_type = 'BASE TABLE' AND table_name <> 'alembic_version'
            GROUP BY table_name
            """
        )
        return dict(cursor.fetchall())


def test_every_row_of_the_first_release_is_as_it_was(database_url: str, rabbitmq_url: str, tmp_path: Path) -> None:
    # Given a school that the first release has seeded, and webhooks that it has booked and sealed
    first = previous_release(tmp_path / "first", AFTER_0_1)
    assert first is not None, "the history does not hold the first release: git fetch --unshallow"
    database = Database(database_url)
    database.execute("DROP SCHEMA public CASCADE")
    database.execute("CREATE SCHEMA public")
    nouba(database, first, "migrate")
    nouba(database, first, "stats", "seed", "--size", "small", "--until", "2026-11-01")
    nouba(database, first, "stats", "backfill", "2026-09-01", "2026-10-31")
    old = {"PYTHONPATH": str(first)}
    with (
        RunningGateway(tmp_path / "gateway", database.url, rabbitmq_url, **old) as gateway,
        RunningWorker(tmp_path / "worker", database.url, rabbitmq_url, **old),
        httpx.Client(base_url=gateway.url, timeout=10) as client,
    ):
        for number in range(10):
            payment = paid(user_id=USER) if number else paid(user_id=10**9)
            assert deliver(client, payment).status_code == 200
        # one waits for a user who is not known yet
        of_ours = "SELECT state, count(*) FROM webhook_events WHERE id > 10000 GROUP BY 1 ORDER BY 1"
        wait_until(lambda: database.rows(of_ours) == [("applied", 9), ("received", 1)], 60, "not settled")
        wait_until(lambda: database.rows("SELECT EXISTS (SELECT FROM seals)") == [(True,)], 60, "nothing is sealed")
    columns, before = columns_of(database.url), rows_of(database.url)
    with_rows = {table for table, rows in before.items() if rows}
    assert {"payments", "ledger_entries", "webhook_events", "seals", "daily_stats", "subscriptions"} <= with_rows

    # When the database is upgraded
    migrate(database.url)

    # Then each row has what it had, and the chain over them holds
    after = rows_of(database.url, columns)
    for table, rows in before.items():
        assert after[table] == rows, table
    assert json.loads(nouba(database, None, "ledger", "verify", "--json"))["faults"] == []


def nouba(database: Database, release: Path | None, *arguments: str) -> str:
    own = {name: value for name, value in os.environ.items() if "NOUBA_" not in name}
    environment = {**own, "NOUBA_DATABASE_URL": database.url, **({"PYTHONPATH": str(release)} if release else {})}
    done = subprocess.run([NOUBA, *arguments], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
