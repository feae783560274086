"""Doctor check of PostgreSQL: connection, schema, stuck work."""

import contextlib
import re
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from psycopg2.extensions import parse_dsn
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError, ProgrammingError, SQLAlchemyError

from shared.operations.doctor.findings import Finding, fault, fine, note, unknown
from shared.runtime.database import CONNECT_TIMEOUT_SECONDS, build_engine
from shared.runtime.logs import describe
from shared.runtime.migrations import schema_revisions
from shared.runtime.settings import DatabaseSettings, read_settings

SUBJECT = "database"
#: A day's end and a signature's age are decided by the clock.
LARGEST_CLOCK_DIFFERENCE_SECONDS = 2.0
MAX_UNPUBLISHED_SECONDS = 60.0
STATEMENT_TIMEOUT_MS = 10_000
VERSIONS = range(15, 19)

#: What the server or the driver says when it lets nobody in, and what that means.
_REFUSALS = (
    ("password authentication failed", "the password of NOUBA_DATABASE_URL is wrong", "Correct the password in it."),
    (r'role ".*" does not exist', "the role of NOUBA_DATABASE_URL does not exist", "Create the role, or correct it."),
    (r'database ".*" does not exist', "the database of NOUBA_DATABASE_URL does not exist", "Create it: `createdb`."),
    ("too many (clients|connections)", "the server has no connection left", "Raise its max_connections."),
    ("could not translate host name", "the host of NOUBA_DATABASE_URL has no address", "Correct the host's name."),
    (
        "session is read-only|session is not read-write",
        "only a standby, or a read-only database, answers at the address of NOUBA_DATABASE_URL",
        "Name the primary, or all hosts (`host1,host2`); or RESET default_transaction_read_only.",
    ),
    (
        "unsupported startup parameter",
        "the pooler refuses a parameter of NOUBA_DATABASE_URL",
        "Take the parameter out of the address, or name it in PgBouncer's ignore_startup_parameters.",
    ),
    (
        "query_wait_timeout|no more connections allowed|login has been failing|cannot connect to server",
        "the pooler answers, and gives no connection to PostgreSQL",
        "See that PostgreSQL runs, and raise PgBouncer's default_pool_size and max_client_conn.",
    ),
    ("starting up|shutting down|recovery mode", "the server is starting or stopping", "Wait a moment, and ask again."),
    ("SSL|certificate", "the server and NOUBA_DATABASE_URL do not agree on TLS", "Check sslmode in it."),
    ("", "nobody answers at the address of NOUBA_DATABASE_URL", "Start PostgreSQL (`make up`), or correct it."),
)


#: What is said instead where something accepts the connection and then says nothing.
_SILENT = (
    "the address of NOUBA_DATABASE_URL accepts connections, and gives no session within {seconds} s",
    "Raise the pooler's pool (PgBouncer: default_pool_size), or see whether PostgreSQL hangs.",
)


T = TypeVar("T")


def read_database(read: Callable[[Connection], T]) -> T | None:
    """What `read` finds, for checks of a service's tables; None where the database fails: its own check says why."""
    url = read_settings(DatabaseSettings).database_url.get_secret_value()
    engine = build_engine(url, pool_size=1, application="nouba doctor", statement_timeout_ms=STATEMENT_TIMEOUT_MS)
    try:
        with engine.connect() as connection:
            return read(connection)
    except SQLAlchemyError:
        return None
    finally:
        engine.dispose()


def check_database(clock: Callable[[], float] = time.time) -> Iterator[Finding]:
    """The server, its clock, the schema and the messages that wait in it."""
    url = read_settings(DatabaseSettings).database_url.get_secret_value()
    engine = build_engine(url, pool_size=2, application="nouba doctor", statement_timeout_ms=STATEMENT_TIMEOUT_MS)
    try:
        with engine.connect() as connection:
            yield from _check_database(connection, clock)
            yield from _sessions(engine, connection)
    except OperationalError as error:
        yield _refusal(str(error.orig), url)
        yield unknown("schema", "the database has to answer first")
    except SQLAlchemyError as error:
        yield fault(
            SUBJECT,
            f"PostgreSQL cannot be asked ({describe(error)}).",
            "Correct NOUBA_DATABASE_URL, or check PostgreSQL's log.",
        )
    finally:
        engine.dispose()


def _refusal(words: str, url: str) -> Finding:
    if "timeout expired" in words and _accepts(url):
        says, fix = _SILENT
        return fault(SUBJECT, f"PostgreSQL cannot be used: {says.format(seconds=CONNECT_TIMEOUT_SECONDS)}.", fix)
    says, fix = next((says, fix) for pattern, says, fix in _REFUSALS if re.search(pattern, words, re.IGNORECASE))
    return fault(SUBJECT, f"PostgreSQL cannot be used: {says}.", fix)


def _check_database(connection: Connection, clock: Callable[[], float]) -> Iterator[Finding]:
    before = clock()
    version, theirs = connection.execute(
        text("SELECT current_setting('server_version_num')::int / 10000, extract(epoch FROM clock_timestamp())::float8")
    ).one()
    if version in VERSIONS:
        yield fine(SUBJECT, f"PostgreSQL {version} answers.")
    else:
        yield note(SUBJECT, f"PostgreSQL {version} is not tested with Nouba.", f"Use {VERSIONS[0]} to {VERSIONS[-1]}.")
    yield _compared(theirs - (before + clock()) / 2)
    yield from _schema(connection)


def _sessions(engine: Engine, connection: Connection) -> Iterator[Finding]:
    """Whether a pooler gives each client a session of its own, which limits, locks and prepared statements need."""
    ask = text("SELECT pg_backend_pid(), current_setting('statement_timeout')")
    first, limit = connection.execute(ask).one()
    # a pooler in transaction mode gives the backend to the next client now
    connection.commit()
    try:
        with engine.connect() as other:
            second = other.execute(ask).one()[0]
    except SQLAlchemyError as error:
        yield fault(
            SUBJECT,
            f"PostgreSQL gives no second connection ({describe(error)}).",
            "Raise max_connections, or the pooler's default_pool_size: docs/operations.md has the sum.",
        )
        return
    if first == second or limit != f"{STATEMENT_TIMEOUT_MS // 1000}s":
        yield fault(
            SUBJECT,
            "A pooler in transaction mode is in between: limits, locks and prepared statements do not hold.",
            "Set pool_mode = session for this database in PgBouncer.",
        )


def _accepts(url: str) -> bool:
    """Whether something listens at the address."""
    parts = parse_dsn(url.replace("+psycopg2", "", 1))
    hosts = str(parts.get("host", "localhost")).split(",")
    ports = str(parts.get("port", 5432)).split(",")
    for host, port in zip(hosts, ports * len(hosts), strict=False):
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
            return True
    return False


def _compared(seconds: float) -> Finding:
    if abs(seconds) <= LARGEST_CLOCK_DIFFERENCE_SECONDS:
        return fine("clock", "This machine and the database have the same time.")
    return fault(
        "clock",
        f"The database's clock is {abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'} this machine's:"
        " signatures appear too old, and days end at different instants.",
        "Run an NTP client (chrony, systemd-timesyncd) on both.",
    )


def _schema(connection: Connection) -> Iterator[Finding]:
    try:
        # a refused statement ends the transaction, not the connection
        with connection.begin_nested():
            current, newest, is_known = schema_revisions(connection)
    except ProgrammingError:
        yield fault(
            "schema",
            "The role of NOUBA_DATABASE_URL may not read which version the tables are of.",
            "Apply deploy/postgres/roles.sql after `nouba migrate`, or grant the role SELECT on alembic_version.",
        )
        return
    if current == newest:
        yield fine("schema", f"The tables are those of this version ({newest}).")
        yield from _waiting(connection)
        yield from _undecided(connection)
        yield from _paused(connection)
    elif current is None:
        yield fault("schema", "The database has no tables of Nouba.", "Run `nouba migrate`.")
    elif is_known:
        yield fault("schema", f"The tables are at {current}, this version needs {newest}.", "Run `nouba migrate`.")
    else:
        yield fault(
            "schema", f"The tables are at {current}, newer than this version's {newest}.", "Install the newer Nouba."
        )


def _waiting(connection: Connection) -> Iterator[Finding]:
    rows = _read(
        connection,
        "outbox",
        "SELECT service, count(*), extract(epoch FROM now() - min(created_at))::float8 FROM outbox GROUP BY 1",
    )
    if isinstance(rows, Finding):
        yield rows
        return
    late = [row for row in rows if row[2] > MAX_UNPUBLISHED_SECONDS]
    for service, count, age_seconds in late:
        yield fault(
            "outbox",
            f"{count} messages of {service} wait for RabbitMQ, the oldest for {age_seconds:.0f} s.",
            f"See that RabbitMQ answers and that a process of {service} runs: it publishes them.",
        )
    if not late:
        yield fine("outbox", "No message waits for RabbitMQ.")


def _undecided(connection: Connection) -> Iterator[Finding]:
    rows = _read(
        connection,
        "dead letters",
        "SELECT queue, count(*) FROM dead_letters WHERE state = 'dead' GROUP BY queue ORDER BY queue",
    )
    if isinstance(rows, Finding):
        yield rows
    elif rows:
        counts = ", ".join(f"{count} of queue {queue}" for queue, count in rows)
        yield note("dead letters", f"Nobody has decided about {counts}.", "Check `nouba dead list`.")
    else:
        yield fine("dead letters", "All are decided about.")


def _paused(connection: Connection) -> Iterator[Finding]:
    rows = _read(
        connection,
        "paused queues",
        "SELECT queue, who, why, to_char(paused_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') FROM queue_pauses"
        " ORDER BY queue",
    )
    if isinstance(rows, Finding):
        yield rows
        return
    for queue, who, why, since in rows:
        reason = f": {why}" if why else ", without a reason"
        yield note(
            f"queue {queue}",
            f"{who} paused it at {since} UTC{reason}.",
            f"Resume it when that is over: `nouba queues resume {queue}`.",
        )


def _read(connection: Connection, subject: str, query: str) -> Sequence[Any] | Finding:
    """The rows, or why they cannot be read."""
    try:
        with connection.begin_nested():
            return connection.execute(text(query)).all()
    except ProgrammingError:
        return unknown(subject, "this role may not read it")
    except SQLAlchemyError as error:
        return fault(subject, f"It cannot be read ({type(error).__name__}).", "Check PostgreSQL's log.")
