"""The events worker as it runs, and endpoints in its database."""

import functools
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2

from local.free_port import free_port
from shared.operations.webhook_endpoints.endpoints import Endpoints
from shared.runtime.database import build_engine
from tests.webhook_gateway.processes import Database, Running


class RunningEvents(Running):
    """`nouba gateway events-worker`, taking messages."""

    def __init__(self, log: Path, database_url: str, rabbitmq_url: str, **settings: str) -> None:
        self.metrics_url = f"http://127.0.0.1:{(port := free_port())}/metrics"
        given = {
            "NOUBA_DATABASE_URL": database_url,
            "NOUBA_RABBITMQ_URL": rabbitmq_url,
            "NOUBA_METRICS_PORT": str(port),
            "NOUBA_EVENTS_ALLOW_PRIVATE": "true",
            "NOUBA_EVENTS_TIMEOUT_SECONDS": "1",
            **settings,
        }
        super().__init__(["gateway", "events-worker"], log, given)
        self.ready_when(lambda: "worker started" in self.log)


def endpoints_of(database: Database) -> Endpoints:
    return _endpoints(database.url)


@functools.cache
def _endpoints(url: str) -> Endpoints:
    return Endpoints(build_engine(url), allow_private=True)


def add(database: Database, url: str, *types: str, ordered: bool = False) -> tuple[int, str]:
    return endpoints_of(database).add(url, types, None, ordered=ordered, who="test")


def record(database: Database, key: int, count: int = 1, kind: str = "wallet.changed") -> list[str]:
    """Events as a trigger would record them; their ids as endpoints see them."""
    rows = _committed(
        database,
        "WITH made AS (INSERT INTO events (type, key, payload) SELECT %s, %s, jsonb_build_object('user_id', %s,"
        " 'balance_minor', number) FROM generate_series(1, %s) AS number RETURNING id) SELECT id FROM made ORDER BY id",
        kind, str(key), key, count,
    )  # fmt: skip
    return [f"evt_{number}" for (number,) in rows]


def _committed(database: Database, statement: str, *values: object) -> list[tuple[Any, ...]]:
    with closing(psycopg2.connect(database.url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall()


def due_now(database: Database) -> None:
    """Let every retry and hold be over."""
    database.execute("UPDATE webhook_endpoints SET held_until_at = NULL, queued_at = NULL")
    database.execute("UPDATE webhook_deliveries SET due_at = now() WHERE state = 'pending'")


def states(database: Database) -> dict[str, int]:
    return dict(database.rows("SELECT state, count(*) FROM webhook_deliveries GROUP BY state"))


def logs(database: Database, endpoint_id: int) -> list[Any]:
    rows = database.rows("SELECT log FROM webhook_deliveries WHERE endpoint_id = %s ORDER BY id", endpoint_id)
    return [log for (log,) in rows]
