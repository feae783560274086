"""Rows that the console has to show: letters, webhooks, and what operators did."""

import json

from tests.webhook_gateway.processes import Database


def bury(database: Database, number: int, queue: str = "webhooks", error: str = "ValueError: no") -> int:
    """A dead letter, as the collector keeps one."""
    body = {
        "queue_name": queue,
        "actor_name": "webhooks.received.v1",
        "args": [],
        "kwargs": {"event_id": number},
        "options": {},
        "message_id": f"m-{number}",
        "message_timestamp": 1,
    }
    database.execute(
        "INSERT INTO dead_letters (queue, message_id, message, actor, cause, error, attempts, died_at, death)"
        " VALUES (%s, %s, %s, %s, 'retries', %s, 3, now(), '')",
        queue,
        f"m-{number}",
        json.dumps(body).encode(),
        body["actor_name"],
        error,
    )
    return int(database.rows("SELECT max(id) FROM dead_letters")[0][0])


def bury_nonsense(database: Database, count: int) -> None:
    """So many dead letters whose body is no message."""
    database.execute(
        "INSERT INTO dead_letters (queue, message_id, message, cause, error, attempts, died_at, death)"
        " SELECT 'webhooks', 'nonsense-' || n, 'nonsense', 'undecodable', 'The body is not a message.', 1, now(), ''"
        " FROM generate_series(1, %s) AS n",
        count,
    )


def keep_event(database: Database, state: str, reason: str | None = None) -> int:
    """A webhook in the inbox."""
    database.execute(
        "INSERT INTO webhook_events (provider, dedupe_key, state, reason, body, body_sha256, received_at)"
        " VALUES ('generic', 'key', %s, %s, '{}', sha256('{}'), now() - interval '3 minutes')",
        state,
        reason,
    )
    return int(database.rows("SELECT max(id) FROM webhook_events")[0][0])


def finish_lesson(database: Database, warnings: list[dict[str, str]] | None) -> None:
    """A completed job with these warnings."""
    database.execute(
        "WITH course AS (INSERT INTO courses DEFAULT VALUES RETURNING id)"
        " INSERT INTO transcode_jobs (course_id, source_key, source_etag, source_bytes, uploaded_at, state,"
        " finished_at, warnings) SELECT id, 'uploads/1', 'e', 1000000, now(), 'completed', now(), %s FROM course",
        None if warnings is None else json.dumps(warnings),
    )


def acts(database: Database) -> list[tuple[object, ...]]:
    return database.rows("SELECT who, what, why, ids FROM operator_acts ORDER BY id")
