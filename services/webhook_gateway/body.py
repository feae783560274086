"""Read a request's body within a size and a time, whatever the sender does."""

import socket
import threading
import time
from collections.abc import Mapping
from typing import Any

from services.webhook_gateway.errors import BodyTooLarge, BodyTooSlow


class BodyReader:
    """Reads whole bodies. One thread a process watches the time of all of them.

    A socket's own timeout starts again with every byte, so a sender that drips one byte a second would hold a thread
    for as long as it likes. Instead the watcher shuts an overdue socket for reading, and the read ends.
    """

    def __init__(self, limit_bytes: int, limit_seconds: float) -> None:
        self._limit_bytes = limit_bytes
        self._limit_seconds = limit_seconds
        self._due: dict[socket.socket, float] = {}
        self._overdue: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._watcher: threading.Thread | None = None

    def read(self, environ: Mapping[str, Any]) -> bytes:
        """The body, exactly as it was sent. Raises BodyTooLarge or BodyTooSlow."""
        declared = int(environ.get("CONTENT_LENGTH") or 0)
        if declared > self._limit_bytes:
            raise BodyTooLarge(self._limit_bytes)
        if not declared and environ.get("HTTP_TRANSFER_ENCODING", "").lower() != "chunked":
            return b""
        connection = environ.get("gunicorn.socket")
        if connection is None:
            return self._read(environ, declared)
        self._watch(connection)
        try:
            return self._read(environ, declared)
        finally:
            with self._lock:
                del self._due[connection]
                was_slow = connection in self._overdue
                self._overdue.discard(connection)
            if was_slow:
                raise BodyTooSlow(self._limit_seconds)

    def _read(self, environ: Mapping[str, Any], declared: int) -> bytes:
        body: bytes = environ["wsgi.input"].read(declared or self._limit_bytes + 1)
        if len(body) > self._limit_bytes:
            raise BodyTooLarge(self._limit_bytes)
        if len(body) < declared:
            raise BodyTooSlow(self._limit_seconds)
        return body

    def _watch(self, connection: socket.socket) -> None:
        with self._lock:
            self._due[connection] = time.monotonic() + self._limit_seconds
            if self._watcher is None:
                self._watcher = threading.Thread(target=self._shut_overdue, name="slow-bodies", daemon=True)
                self._watcher.start()

    def _shut_overdue(self) -> None:
        while True:
            time.sleep(min(0.25, self._limit_seconds / 4))
            now = time.monotonic()
            with self._lock:
                for connection in [each for each, due in self._due.items() if due <= now]:
                    if connection not in self._overdue:
                        self._overdue.add(connection)
                        connection.shutdown(socket.SHUT_RD)
