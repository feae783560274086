"""Database connections with a deadline, whatever the other side does."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine

from shared.runtime.socket_deadlines import SocketDeadlines

# its thread is started at the first use, which is after the fork
_deadlines = SocketDeadlines()


@contextmanager
def connect_within(engine: Engine, seconds: float) -> Iterator[Connection]:
    """A connection of `engine` that is cut after `seconds`; what hangs on it then raises OperationalError.

    A server's own statement timeout needs a server that runs. One that is paused, or whose disk hangs, answers
    nothing, yet its kernel acknowledges every byte, so that no timeout of TCP ends the wait either.
    """
    with engine.connect() as connection:
        wire = socket.socket(fileno=os.dup(connection.connection.driver_connection.fileno()))  # type: ignore[union-attr]
        with wire, _deadlines.within(wire, seconds, socket.SHUT_RDWR):
            yield connection
