"""Deadline for one whole HTTP call by httpx, its headers included."""

import socket
import time
from collections.abc import Mapping
from typing import Any, Self

from shared.runtime.socket_deadlines import Deadline, SocketDeadlines

# its thread is started at the first use, which is after the fork
_deadlines = SocketDeadlines()


class CallDeadline:
    """Shuts the socket of one call when its time is over: dripping headers pass every timeout between two reads.

    Give `trace` to the request as the extension of that name, and send `Connection: close`: httpx does not name the
    socket of a connection that it uses again.
    """

    def __init__(self, seconds: float) -> None:
        self._due = time.monotonic() + seconds
        self._deadline: Deadline | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._deadline is not None:
            _deadlines.end(self._deadline)
            self._deadline.connection.close()

    @property
    def is_passed(self) -> bool:
        return time.monotonic() > self._due

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Called by httpx at each step of the call."""
        if event == "connection.connect_tcp.complete":
            wire = info["return_value"].get_extra_info("socket").dup()
            self._deadline = _deadlines.begin(wire, self._due - time.monotonic(), socket.SHUT_RDWR)
