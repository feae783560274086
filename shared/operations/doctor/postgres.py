"""Doctor check of PostgreSQL: connection, schema, stuck work."""

import re
import time
from collections.abc import Callable, Iterator

from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError, ProgrammingError, SQLAlchemyError

from shared.operations.doctor.findings import Finding, fault, fine, note, unknown
from shared.runtime.database import build_engine
from shared.runtime.logs import describe
from shared.runtime.migrations import schema_revisions
from shared.runtime.settings import DatabaseSettings, read_settings

SUBJECT = "database"
#: A day's end and a signature's age are decided by the clock.
LARGEST_CLOCK_DIFFERENCE_SECONDS = 2.0
LONGEST_UNPUBLISHED_SECONDS = 60.0
VERSIONS = range(15, 19)

#: What the server or the driver says when it lets nobody in, and what that means.
_REFUSALS = (
    ("password authentication failed", "the password of NOUBA_DATABASE_URL is wrong", "Correct the password in it."),
    (r'role ".*" does not exist', "the role of NOUBA_DATABASE_URL does not exist", "Create the role, or correct it."),
    (r'database ".*" does not exist', "the database of NOUBA_DATABASE_URL does not exist", "Create it: `createdb`."),
    ("too many (clients|connections)", "the server has no connection left", "Raise its max_connections."),
    ("could not translate host name", "the host of NOUBA_DATABASE_URL has no address", "Correct the host's name."),
    ("starting up|shutting down|recovery mode", "the server is starting or stopping", "Wait a moment, and ask again."),
    ("SSL|certificate", "the server and NOUBA_DATABASE_URL do not agree on TLS", "Look at sslmode in it."),
    ("", "nobody answers at the address of NOUBA_DATABASE_URL", "Start PostgreSQL (`make up`), or correct it."),
)


def check_database(clock: Callable[[], float] = time.time) -> Iterator[Finding]:
    """The server, its clock, the schema and the messages that wait in it."""
    url = read_settings(DatabaseSettings).database_url.get_secret_value()
    engine = build_engine(url, pool_size=1, application="nouba doctor", statement_timeout_ms=10_000)
    try:
        with engine.connect() as connection:
            yield from _look(connection, clock)
    except OperationalError as error:
        yield _refusal(str(error.orig))
        yield unknown("schema", "the database has to answer first")
    except SQLAlchemyError as error:
        yield fault(
            SUBJECT,
            f"PostgreSQL cannot be asked ({describe(error)}).",
            "Correct NOUBA_DATABASE_URL, or look at PostgreSQL's log.",
        )
    finally:
        engine.dispose()


def _refusal(words: str) -> Finding:
    says, fix = next((says, fix) for pattern, says, fix in _REFUSALS if re.search(pattern, words, re.IGNORECASE))
    return fault(SUBJECT, f"PostgreSQL cannot be used: {says}.", fix)


def _look(connection: Connection, clock: Callable[[], float]) -> Iterator[Finding]:
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


def _compared(seconds: float) -> Finding:
    if abs(seconds) <= LARGEST_CLOCK_DIFFERENCE_SECONDS:
        return fine("clock", "This machine and the database have the same time.")
    return fault(
        "clock",
        f"The database's clock is {abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'} this machine's:"
        " signatures look too old, and days end at different instants.",
        "Run an NTP client (chrony, systemd-timesyncd) on both.",
    )


def _schema(connection: Connection) -> Iterator[Finding]:
    try:
        current, newest = schema_revisions(connection)
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
    elif current is None:
        yield fault("schema", "The database has no tables of Nouba.", "Run `nouba migrate`.")
    elif current < newest:
        yield fault("schema", f"The tables are at {current}, this version needs {newest}.", "Run `nouba migrate`.")
    else:
        yield fault(
            "schema", f"The tables are at {current}, newer than this version's {newest}.", "Install the newer Nouba."
        )


def _waiting(connection: Connection) -> Iterator[Finding]:
    try:
        rows = connection.execute(
            text("SELECT service, count(*), extract(epoch FROM now() - min(created_at))::float8 FROM outbox GROUP BY 1")
        ).all()
    except ProgrammingError:
        yield unknown("outbox", "this role may not read it")
        return
    except SQLAlchemyError as error:
        yield fault("outbox", f"It cannot be read ({type(error).__name__}).", "Look at PostgreSQL's log.")
        return
    late = [row for row in rows if row[2] > LONGEST_UNPUBLISHED_SECONDS]
    for service, count, age_seconds in late:
        yield fault(
            "outbox",
            f"{count} messages of {service} wait for RabbitMQ, the oldest for {age_seconds:.0f} s.",
            f"See that RabbitMQ answers and that a process of {service} runs: it publishes them.",
        )
    if not late:
        yield fine("outbox", "No message waits for RabbitMQ.")
