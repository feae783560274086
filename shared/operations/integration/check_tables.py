"""Compares the school's tables in the database with what Nouba reads and writes of them.

The columns come from `shared.schema.school`, which is what the services are written against.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from sqlalchemy import BigInteger, Column, Connection, Engine, SmallInteger, Table, Text, text

from shared.schema.school import (
    attendances,
    chapters,
    courses,
    office_payments,
    sessions,
    subscriptions,
    teachers,
    users,
)

TABLES: Final = (users, teachers, chapters, courses, subscriptions, sessions, attendances, office_payments)
#: What Nouba's services write of the school's tables; everything else they only read.
WRITTEN: Final[dict[tuple[str, str], Sequence[str]]] = {
    ("nouba_gateway", "users"): ("balance_minor",),
    ("nouba_gateway", "subscriptions"): ("status", "activated_at", "ends_at", "granted_until"),
    ("nouba_gateway", "courses"): ("transcoding_status",),
    ("nouba_transcoder", "courses"): ("transcoding_status", "video_ref"),
}
#: Queries that count wrong rows, what is wrong with them, and the fix.
_VALUES: Final = (
    (
        "subscriptions.status",
        "SELECT count(*) FROM subscriptions WHERE status NOT IN ('pending_payment', 'active', 'expired', 'cancelled')",
        "have another status than pending_payment, active, expired or cancelled",
        "map the school's words to these four where the rows are written",
    ),
    (
        "subscriptions.user_id",
        "SELECT count(*) FROM subscriptions AS one WHERE NOT EXISTS (SELECT FROM users WHERE id = one.user_id)",
        "belong to no user",
        "write the users first",
    ),
    (
        "subscriptions.amount_minor",
        "SELECT count(*) FROM subscriptions WHERE amount_minor < 0",
        "have a negative price",
        "write the price in minor units: 2500 DZD are 250000",
    ),
    (
        "courses.transcoding_status",
        "SELECT count(*) FROM courses WHERE transcoding_status NOT IN ('pending', 'processing', 'completed', 'failed')",
        "have another transcoding_status than pending, processing, completed or failed",
        "leave the column to the transcoder",
    ),
    (
        "users.balance_minor",
        "SELECT count(*) FROM users WHERE balance_minor <> (SELECT coalesce(sum(entry.amount_minor), 0)"
        " FROM ledger_entries AS entry JOIN ledger_accounts AS account ON account.id = entry.account_id"
        " WHERE account.kind = 'user_wallet' AND account.user_id = users.id)",
        "have a balance that is not the sum of their ledger entries",
        "write no balance: bring an opening balance with `nouba payments adjust`",
    ),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked; `fix` is empty where nothing is wrong."""

    place: str
    is_right: bool
    what: str
    fix: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def check_integration(engine: Engine) -> list[Finding]:
    """Every finding, in the order of the tables; nothing is written."""
    with engine.connect() as connection:
        found = [finding for table in TABLES for finding in _check_table(connection, table)]
        found += _check_writers(connection)
        if all(finding.is_right for finding in found):
            found += _check_values(connection)
    return found


def _check_table(connection: Connection, table: Table) -> Iterator[Finding]:
    query = (
        "SELECT column_name, udt_name FROM information_schema.columns WHERE table_schema = 'public' AND table_name = :t"
    )
    rows = connection.execute(text(query), {"t": table.name})
    known: dict[str, str] = {row.column_name: row.udt_name for row in rows}
    if not known:
        yield Finding(table.name, False, "is missing", "run `nouba migrate`, which creates it")
        return
    wrong = [finding for column in table.columns if (finding := _check_column(table, column, known)) is not None]
    yield from wrong or [Finding(table.name, True, f"has its {len(table.columns)} columns")]


def _check_column(table: Table, column: "Column[Any]", known: dict[str, str]) -> Finding | None:
    place = f"{table.name}.{column.name}"
    types = _types_of(column)
    if column.name not in known:
        fix = f"ALTER TABLE {table.name} ADD COLUMN {column.name} {types[0]}"
        return Finding(place, False, "is missing", f"{fix}, or restore what was renamed")
    if known[column.name] not in types:
        fix = f"ALTER TABLE {table.name} ALTER COLUMN {column.name} TYPE {types[0]}"
        return Finding(place, False, f"is {known[column.name]}, and has to be {' or '.join(types)}", fix)
    return None


def _types_of(column: "Column[Any]") -> tuple[str, ...]:
    if isinstance(column.type, SmallInteger):
        return ("int2", "int4")
    if isinstance(column.type, BigInteger):
        return ("int8",)
    if isinstance(column.type, Text):
        return ("text", "varchar", "citext")
    return ("timestamptz",)


def _check_writers(connection: Connection) -> Iterator[Finding]:
    """Where the roles of the containers exist: whether each may write what it keeps."""
    for (role, table), columns in WRITTEN.items():
        if not connection.scalar(text("SELECT count(*) FROM pg_roles WHERE rolname = :role"), {"role": role}):
            continue
        may = "SELECT has_column_privilege(:role, :table, :column, 'UPDATE')"
        lacking = [
            one for one in columns if not connection.scalar(text(may), {"role": role, "table": table, "column": one})
        ]
        if lacking:
            fix = f"GRANT UPDATE ({', '.join(lacking)}) ON {table} TO {role}, as deploy/postgres/roles.sql does"
            yield Finding(table, False, f"{role} may not write {', '.join(lacking)}", fix)
        else:
            yield Finding(table, True, f"{role} writes {', '.join(columns)}")


def _check_values(connection: Connection) -> Iterator[Finding]:
    for place, query, what, fix in _VALUES:
        count = connection.scalar(text(query)) or 0
        yield Finding(
            place, not count, f"{count} rows {what}" if count else "has only values that are known", fix * (count > 0)
        )
