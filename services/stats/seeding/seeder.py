"""Seeds a made-up school with two years of history."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from time import monotonic
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import ProgrammingError

from services.stats.days import ONE_DAY, midnight
from services.stats.errors import RefusedDayError
from services.stats.seeding.insert_statements import FUNCTIONS, TABLES, Rows

HISTORY_DAYS = 731

#: How many users; everything else follows from it.
SIZES = {"small": 1_000, "medium": 100_000, "10m": 1_000_000}

#: Rows written by one statement, which is one transaction.
_PIECE = 500_000


@dataclass(frozen=True, slots=True)
class Seeded:
    """What was written, and how fast."""

    rows: int
    seconds: float

    @property
    def rows_per_second(self) -> int:
        return int(self.rows / max(self.seconds, 1e-9))


def counts(users: int) -> dict[str, int]:
    """How many rows the school of so many users has, by table."""
    return {
        "users": users,
        "teachers": 10 + users // 2_000,
        "chapters": 20 + users // 1_000,
        "courses": 200 + users // 100,
        "sessions": users // 2,
        "attendances": 50 * users,
        "views": 10 * users,
        "subscriptions": 3 * users,
        "payments": 10 * users,
        "office": users,
    }


def seed(
    engine: Engine,
    users: int,
    number: int,
    until: date,
    zone: ZoneInfo,
    progress: Callable[[str, int, int], None],
    *,
    days: int = HISTORY_DAYS,
    tables: Sequence[Rows] = TABLES,
    more_counts: Mapping[str, int] | None = None,
) -> Seeded:
    """Write the school number `number` of so many users, whose last day is the one before `until`.

    `progress` is given a table, how many of its rows are made, and how many it will have. `tables` are other statements
    than those of the statistics, whose numbers of rows are in `more_counts`.
    """
    rows_of = {**counts(users), **(more_counts or {})}
    begins_at, ends_at = midnight(until - ONE_DAY * days, zone), midnight(until, zone)
    names: dict[str, object] = {
        **rows_of,
        "seed": number,
        "zone": zone.key,
        "begins_at": int(begins_at.timestamp()),
        "ends_at": ends_at.isoformat(),
        # what follows a row by minutes still lies before the end
        "seconds": (ends_at - begins_at).total_seconds() - 3600,
    }
    begun, written = monotonic(), 0
    with engine.connect() as connection, _without_triggers(connection, names), _indexes_last(connection, tables):
        for rows in tables:
            total = rows_of[rows.of]
            statement = rows.statement.format(**names)
            for first in range(1, total + 1, _PIECE):
                last = min(first + _PIECE - 1, total)
                result = connection.exec_driver_sql(statement, {"first": first, "last": last})
                written += result.rowcount
                connection.commit()
                progress(rows.table, last, total)
        _set_counters(connection, tables)
        written += connection.exec_driver_sql("SELECT count(*) FROM ledger_transactions").scalar_one()
    seconds = monotonic() - begun
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        # also fills the block indexes with where each time lies
        connection.exec_driver_sql("VACUUM ANALYZE")
    return Seeded(written, seconds)


@contextmanager
def _without_triggers(connection: Connection, names: dict[str, object]) -> Iterator[None]:
    """The rows are right by construction; checking each foreign key would cost more than writing them."""
    if connection.exec_driver_sql("SELECT EXISTS (SELECT FROM users)").scalar_one():
        raise RefusedDayError("The database already has users; seed an empty one, so that no real number is spoilt.")
    try:
        connection.exec_driver_sql("SET session_replication_role = replica")
    except ProgrammingError as error:
        raise RefusedDayError(
            "Seeding switches triggers off, which only a superuser of the database may; use a database of your own."
        ) from error
    connection.exec_driver_sql("SET synchronous_commit = off")
    connection.exec_driver_sql(FUNCTIONS.format(**names).replace("%", "%%"))
    try:
        yield
    finally:
        connection.rollback()
        connection.exec_driver_sql("RESET ALL")
        connection.commit()


@contextmanager
def _indexes_last(connection: Connection, seeded: Sequence[Rows]) -> Iterator[None]:
    """Make the indexes when the rows are there: sorted at once, where each row would find its place in them."""
    tables = sorted({rows.table for rows in seeded} | {"ledger_transactions"})
    found = connection.execute(_INDEXES, {"tables": tables}).all()
    for index in found:
        connection.exec_driver_sql(f"DROP INDEX {index.name}")
    connection.commit()
    try:
        yield
    finally:
        connection.rollback()
        connection.exec_driver_sql("SET maintenance_work_mem = '512MB'")
        for index in found:
            connection.exec_driver_sql(index.definition.replace("%", "%%"))
            connection.commit()


#: Beside those of constraints, and those that say where each time lies, which cost nothing.
_INDEXES = text("""
SELECT made.oid::regclass::text AS name, pg_get_indexdef(made.oid) AS definition
FROM pg_index JOIN pg_class AS made ON made.oid = indexrelid JOIN pg_class AS indexed ON indexed.oid = indrelid
JOIN pg_am ON pg_am.oid = made.relam
WHERE indexed.relname = ANY(:tables) AND NOT indisunique AND amname = 'btree' AND indexed.relkind = 'r'
ORDER BY name
""")


def _set_counters(connection: Connection, tables: Sequence[Rows]) -> None:
    """The next row of each table gets the next number, where rows have one."""
    for table in sorted({rows.table for rows in tables} | {"ledger_transactions"}):
        counter = connection.execute(
            text(
                "SELECT pg_get_serial_sequence(:table, attname) FROM pg_attribute"
                " WHERE attrelid = to_regclass(:table) AND attname = 'id' AND attidentity <> ''"
            ),
            {"table": table},
        ).scalar_one_or_none()
        if counter is not None:
            connection.execute(text(f"SELECT setval('{counter}', max(id)) FROM {table}"))  # noqa: S608
    connection.commit()
