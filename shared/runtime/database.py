"""Connections to PostgreSQL: opened to the primary alone, bounded in time, and dropped when they are useless.

A connection can be alive and useless: a standby answers reads for ever, and so does a database that was made read-only.
So libpq connects only to a server that takes writes, and an error that only such a server sends drops the whole pool.
A URL may name several hosts (`postgresql://nouba@db1,db2/nouba`): the first that takes writes is used.
"""

import os
import select
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg2
import structlog
from psycopg2.extensions import connection as PsycopgConnection  # noqa: N812 - psycopg2 names its class so
from psycopg2.extensions import parse_dsn
from psycopg2.extras import NamedTupleCursor
from sqlalchemy import Connection, Engine, ExceptionContext, create_engine, event
from sqlalchemy.exc import (
    DBAPIError,
    DisconnectionError,
    InterfaceError,
    InvalidatePoolError,
    OperationalError,
    TimeoutError,
)

from shared.runtime.logs import describe
from shared.runtime.socket_deadlines import Deadline, SocketDeadlines

#: A server that does not answer within this is treated as away.
CONNECT_TIMEOUT_SECONDS = 3
#: A restart or a failover takes seconds. After this `RetryingEngine` gives the work up; its message comes again.
PATIENCE_SECONDS = 60.0
_PAUSE_SECONDS = 0.5
#: Reads are short: a compiler and further processes take longer to start than most of them, whatever the planner
#: believes of a table with many rows.
_SESSION = "SET statement_timeout = %s; SET jit = off; SET max_parallel_workers_per_gather = 0"
#: What is left to the statements after a slow connect.
_MIN_SECONDS = 0.5

#: Errors after which no other statement on the connection can succeed: the transaction or the server is read-only, the
#: server starts, stops or was lost, or a pooler ended the session.
_USELESS = ("25006", "57P01", "57P02", "57P03", "57P05", "08000", "08003", "08006", "08P01")
#: A standby cancels statements that conflict with what it replays, and a primary never does.
_OF_A_STANDBY = "conflict with recovery"
#: The first byte of PostgreSQL's message that says why a session ends.
_ERROR_RESPONSE = b"E"

log = structlog.get_logger(__name__)
T = TypeVar("T")

# its thread is started at the first use, which is after the fork
_deadlines = SocketDeadlines()


def build_engine(
    database_url: str,
    *,
    pool_size: int = 5,
    application: str = "nouba",
    autocommit: bool = False,
    statement_timeout_ms: int = 0,
    connect_timeout_seconds: int = CONNECT_TIMEOUT_SECONDS,
    pool_timeout_seconds: float = 2,
) -> Engine:
    """An engine whose connections are checked by TCP, not by a query on every use.

    `pool_size` connections are kept, and never more opened: a caller beyond that waits up to `pool_timeout_seconds`.
    A statement that waits longer than `statement_timeout_ms` (for a lock, say) is given up; 0 waits for ever.
    With `autocommit` every statement is a transaction of its own, in one round trip.
    A standby is used only where the URL says `target_session_attrs=any`, for what only reads.
    """

    def connect(_record: object) -> PsycopgConnection:
        return _connect(database_url, application, statement_timeout_ms, connect_timeout_seconds)

    engine = create_engine(
        "postgresql+psycopg2://",
        creator=connect,
        pool_size=pool_size,
        max_overflow=0,
        # the parameters of a statement are what a stranger sent
        hide_parameters=True,
        pool_timeout=pool_timeout_seconds,
        # would be a query at every connect
        use_native_hstore=False,
        **({"isolation_level": "AUTOCOMMIT"} if autocommit else {}),
    )
    # after SQLAlchemy's own first queries, since listeners are called in order
    event.listen(engine, "connect", _end_first_deadline)
    event.listen(engine, "handle_error", _drop_useless)
    event.listen(engine, "checkout", _refuse_ended)
    return engine


@contextmanager
def connect_within(engine: Engine, seconds: float) -> Iterator[Connection]:
    """A connection of `engine` that is cut `seconds` after the call; what hangs on it then raises OperationalError.

    A server's own statement timeout needs a server that runs. One that is paused, or whose disk hangs, answers
    nothing, yet its kernel acknowledges every byte, so that no timeout of TCP ends the wait either. The engine bounds
    the wait for a connection of the pool, and each host's connect: both count.
    """
    began = time.monotonic()
    with engine.connect() as connection:
        left_seconds = max(_MIN_SECONDS, seconds - (time.monotonic() - began))
        wire = _wire_of(connection.connection.driver_connection)
        with wire, _deadlines.within(wire, left_seconds, socket.SHUT_RDWR):
            yield connection


def fetch_all(connection: Connection, statement: str, values: Sequence[Any] | Mapping[str, Any]) -> list[Any]:
    """Execute `statement` with psycopg2's own cursor, and return its rows: for statements that run for every event.

    SQLAlchemy's execution and result objects take as much CPU as psycopg2 itself. Its connection, pool and errors stay:
    what fails raises what `exec_driver_sql` raises, and drops the same connections.
    """
    session = connection.connection
    if not session.driver_connection.autocommit and not connection.in_transaction():  # type: ignore[union-attr]
        # SQLAlchemy has to know of the transaction that psycopg2 begins
        connection.begin()
    cursor = session.cursor(cursor_factory=NamedTupleCursor)
    try:
        connection.dispatch.before_cursor_execute(connection, cursor, statement, values, None, False)
        cursor.execute(statement, values)
        rows = list(cursor.fetchall()) if cursor.description else []
    except BaseException as error:  # noqa: BLE001 - raised again, as SQLAlchemy means it
        # with a statement it would wrap what psycopg2 itself did not raise: a ValueError for a NUL is none of SQL's
        failed = statement if isinstance(error, psycopg2.Error) else None
        connection._handle_dbapi_exception(error, failed, None, cursor, None)
    cursor.close()
    return rows


class RetryingEngine:
    """Runs functions in transactions and retries them while the database is away.

    Each function may run more than once, and find its own earlier commit.
    """

    def __init__(self, engine: Engine, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._engine = engine
        self._patience_seconds = patience_seconds

    def run(self, work: Callable[[Connection], T]) -> T:
        """Return the result of `work` once it is committed. Raises the database's error when the patience is over."""
        deadline = time.monotonic() + self._patience_seconds
        while True:
            try:
                with self._engine.begin() as connection:
                    return work(connection)
            except (OperationalError, InterfaceError, TimeoutError) as error:
                self._wait(error, deadline)
            except DBAPIError as error:
                if not error.connection_invalidated:
                    raise
                self._wait(error, deadline)

    def attempt(self, work: Callable[[Connection], T]) -> T | None:
        """Return the result of `work`, or None where the database is away."""
        try:
            with self._engine.begin() as connection:
                return work(connection)
        except (OperationalError, InterfaceError, TimeoutError) as error:
            log.warning("the database did not answer", error=describe(error))
            return None
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
            log.warning("the database did not answer", error=describe(error))
            return None

    def _wait(self, error: Exception, deadline: float) -> None:
        if time.monotonic() > deadline:
            raise error
        log.warning("the database did not answer, trying again", error=describe(error))
        time.sleep(_PAUSE_SECONDS)


class _Session(PsycopgConnection):
    """psycopg2's connection, and the deadline of the queries that follow the connect."""

    first_deadline: Deadline | None = None


def _connect(database_url: str, application: str, statement_timeout_ms: int, timeout_seconds: int) -> _Session:
    url = _for_libpq(database_url)
    began = time.monotonic()
    # A statement timeout is not sent as libpq's `options`: PgBouncer refuses that parameter, or drops it.
    connection = psycopg2.connect(
        url,
        connection_factory=_Session,
        connect_timeout=timeout_seconds,
        application_name=application,
        keepalives_idle=10,
        keepalives_interval=5,
        keepalives_count=3,
        # an unplugged server must not hold a request for the kernel's fifteen minutes
        tcp_user_timeout=10_000,
        target_session_attrs=parse_dsn(url).get("target_session_attrs", "read-write"),
    )
    # libpq's timeout ends with the connect; a server that stops now, or a pooler without a free connection, would be
    # waited for without end
    left_seconds = max(_MIN_SECONDS, timeout_seconds - (time.monotonic() - began))
    deadline = _deadlines.begin(_wire_of(connection), left_seconds, socket.SHUT_RDWR)
    connection.first_deadline = deadline
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(_SESSION, (statement_timeout_ms,))
        connection.autocommit = False
    except BaseException as error:
        _end_first_deadline(connection)
        connection.close()
        if deadline.passed:
            raise psycopg2.OperationalError(
                f"timeout expired: the server accepted the connection, and did not answer within {timeout_seconds} s"
            ) from error
        raise
    return connection


def _end_first_deadline(connection: Any, _record: object = None) -> None:
    deadline, connection.first_deadline = connection.first_deadline, None
    if deadline is not None:
        _deadlines.end(deadline)
        deadline.connection.close()


def _refuse_ended(connection: Any, _record: object, _proxy: object) -> None:
    """Replace a pooled connection that its server has ended; costs a system call, and no round trip.

    So the first request after a failover or a restart does not fail for a connection that died while it was idle.
    """
    wire = select.poll()
    try:
        wire.register(connection, select.POLLIN)
        # an idle connection has nothing to read but its end, or the reason for it
        if not wire.poll(0):
            return
        with _wire_of(connection) as peer:
            begin = peer.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except (OSError, ValueError, psycopg2.Error):
        raise DisconnectionError("the connection is closed") from None
    if begin in (b"", _ERROR_RESPONSE):
        # all others of the pool lead to the same server
        raise InvalidatePoolError("the server ended the connection")


def _drop_useless(context: ExceptionContext) -> None:
    """Drop the connection, and all others of the pool: they lead to the same server."""
    error: Any = context.original_exception
    if getattr(error, "pgcode", None) in _USELESS or _OF_A_STANDBY in str(error):
        context.is_disconnect = True


def _wire_of(connection: Any) -> socket.socket:
    return socket.socket(fileno=os.dup(connection.fileno()))


def _for_libpq(url: str) -> str:
    return url.replace("postgresql+psycopg2://", "postgresql://", 1)
