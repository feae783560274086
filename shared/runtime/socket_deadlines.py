"""Deadlines for sockets, however slowly the other side sends."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

#: How late a deadline may be noticed.
PRECISION_SECONDS = 0.25


@dataclass(slots=True, eq=False)
class Deadline:
    """When a socket is shut, and for which direction; `passed` says that it was."""

    connection: socket.socket
    due: float
    how: int
    passed: bool = False


class SocketDeadlines:
    """One thread a process watches all sockets that have a deadline. Make it after the fork.

    A socket's own timeout starts again with every byte, so a sender that drips one byte a second would hold a thread
    for as long as it likes. Here the watcher shuts an overdue socket, and the read or write that hangs on it ends.
    """

    def __init__(self) -> None:
        self._running: set[Deadline] = set()
        self._changed = threading.Condition()
        self._watcher: threading.Thread | None = None

    @contextlib.contextmanager
    def within(self, connection: socket.socket, seconds: float, how: int = socket.SHUT_RD) -> Iterator[Deadline]:
        """Shut `connection` in direction `how` unless the block ends within `seconds`."""
        deadline = self.begin(connection, seconds, how)
        try:
            yield deadline
        finally:
            self.end(deadline)

    def begin(self, connection: socket.socket, seconds: float, how: int = socket.SHUT_RD) -> Deadline:
        """Shut `connection` in direction `how` unless `end` is called within `seconds`."""
        deadline = Deadline(connection, time.monotonic() + seconds, how)
        with self._changed:
            if not self._running:
                self._changed.notify()
            self._running.add(deadline)
            if self._watcher is None or not self._watcher.is_alive():
                self._watcher = threading.Thread(target=self._watch, name="deadlines", daemon=True)
                self._watcher.start()
        return deadline

    def end(self, deadline: Deadline) -> None:
        """Leave the socket alone from now on."""
        # under the lock, so that no socket is shut after its owner went on with it
        with self._changed:
            self._running.discard(deadline)

    def _watch(self) -> None:
        while True:
            with self._changed:
                while not self._running:
                    self._changed.wait()
            time.sleep(PRECISION_SECONDS)
            now = time.monotonic()
            with self._changed:
                for deadline in [one for one in self._running if one.due <= now]:
                    self._running.discard(deadline)
                    deadline.passed = True
                    # the sender may have closed it in the same moment; and whatever else it is, a watcher that
                    # ended would let every later deadline pass
                    with contextlib.suppress(Exception):
                        deadline.connection.shutdown(deadline.how)
