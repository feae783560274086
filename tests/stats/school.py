"""Puts a history into PostgreSQL, and asks the sections about it."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

import psycopg2.extensions
from psycopg2.extras import NamedTupleCursor, execute_values

from services.stats.binary_column_reader import ColumnReader
from services.stats.days import Days
from services.stats.sections import SECTIONS
from services.stats.sections.base import Query, Rules
from tests.stats.oracle_day import Row, School

Connection = psycopg2.extensions.connection

#: Of the school in most tests.
RULES = Rules("DZD", grace_days=7)

_TABLES = (
    "users", "teachers", "chapters", "courses", "sessions", "attendances", "payments", "subscriptions",
    "subscription_terms", "chapter_teachers", "office_payments", "lesson_views",
)  # fmt: skip


def load(connection: Connection, school: School) -> None:
    """Write all of `school`; the caller ends the transaction."""
    with connection.cursor() as cursor:
        # one side of each ledger transaction is enough here, and the database would refuse that at commit
        cursor.execute("SET LOCAL session_replication_role = replica")
        held: Counter[int] = Counter()
        for entry in school["ledger"]:
            if entry["account"] == "user_wallet":
                held[entry["user_id"]] += entry["amount_minor"]
        users = [{**user, "balance_minor": held[user["id"]]} for user in school["users"]]
        for table in _TABLES:
            insert(cursor, table, users if table == "users" else school[table])
        events = [
            {**event, "dedupe_key": str(event["id"]), "body": b"", "body_sha256": b""}
            for event in school["webhook_events"]
        ]
        insert(cursor, "webhook_events", events)
        _load_videos(cursor, school["transcode_jobs"])
        _load_ledger(cursor, school["ledger"])
        letters = [
            {**letter, "message_id": str(letter["id"]), "cause": "retries", "attempts": 1, "message": b"", "death": "-"}
            for letter in school["dead_letters"]
        ]
        insert(cursor, "dead_letters", letters)


def count(
    connection: Connection, days: Days, rules: Rules = RULES, kept: Mapping[date, Mapping[str, Any]] | None = None
) -> dict[date, dict[str, Any]]:
    """All numbers of `days` by id, as the sections' SQL finds them; `kept` is what is known of days before."""

    ask = query_of(connection, kept)
    found: dict[date, dict[str, Any]] = {day: {} for day in days}
    for section in SECTIONS:
        for day, numbers in section.compute(ask, days, rules).items():
            found[day] |= {f"{section.name}.{name}": value for name, value in numbers.items()}
    return found


def query_of(connection: Connection, kept: Mapping[date, Mapping[str, Any]] | None = None) -> Query:
    """Asks the database of this connection."""

    def run(query: str, values: Mapping[str, Any]) -> Sequence[Any]:
        with connection.cursor(cursor_factory=NamedTupleCursor) as named:
            cursor: psycopg2.extensions.cursor = named
            cursor.execute(query, values)
            return cursor.fetchall()

    def copy(command: str, values: Mapping[str, Any], reader: ColumnReader) -> None:
        with connection.cursor() as cursor:
            cursor.copy_expert(cursor.mogrify(command, values), reader)

    return Query(run, copy, kept)


def insert(cursor: Any, table: str, rows: list[Row]) -> None:
    """Insert `rows`, which have the same keys, into `table`."""
    if rows:
        columns = list(rows[0])
        values = [[row[column] for column in columns] for row in rows]
        names = ", ".join(columns)
        execute_values(cursor, f"INSERT INTO {table} ({names}) OVERRIDING SYSTEM VALUE VALUES %s", values)  # noqa: S608


def _load_videos(cursor: Any, jobs: list[Row]) -> None:
    filled = [
        {**job, "source_key": str(job["id"]), "source_etag": "", "uploaded_at": job["created_at"]} for job in jobs
    ]
    parts = [(job["id"], number, *part) for job in jobs for number, part in enumerate(job["parts"])]
    insert(cursor, "transcode_jobs", [{k: v for k, v in job.items() if k != "parts"} for job in filled])
    chunks = [
        {
            "job_id": job_id,
            "number": number,
            "kind": kind,
            "state": "done",
            "due_at": datetime(2026, 1, 1, tzinfo=UTC),
            "result": json.dumps({"files": {str(name): size for name, size in enumerate(sizes)}, "parts": []}),
        }
        for job_id, number, kind, sizes in parts
    ]
    insert(cursor, "transcode_chunks", chunks)


def _load_ledger(cursor: Any, entries: list[Row]) -> None:
    accounts: dict[tuple[str, int | None, str | None], int] = {}
    for entry in entries:
        accounts.setdefault(_account(entry), len(accounts) + 1)
    insert(
        cursor,
        "ledger_accounts",
        [
            {"id": number, "kind": kind, "user_id": user_id, "provider": provider}
            for (kind, user_id, provider), number in accounts.items()
        ],
    )
    insert(
        cursor,
        "ledger_transactions",
        [
            {
                "id": number,
                "kind": entry["kind"],
                "subscription_id": entry["subscription_id"],
                "payment_id": entry["payment_id"],
                "created_at": entry["at"],
            }
            for number, entry in enumerate(entries, start=1)
        ],
    )
    insert(
        cursor,
        "ledger_entries",
        [
            {
                "transaction_id": number,
                "account_id": accounts[_account(entry)],
                "amount_minor": entry["amount_minor"],
                "currency": "DZD",
            }
            # workers book at once, so that entries come in another order than their transactions
            for number, entry in sorted(enumerate(entries, start=1), key=lambda numbered: numbered[0] ^ 1)
        ],
    )


def _account(entry: Row) -> tuple[str, int | None, str | None]:
    return entry["account"], entry["user_id"], entry.get("provider")
