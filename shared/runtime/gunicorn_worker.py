"""gunicorn's worker class of every server: request deadlines, and JSON answers to what is not HTTP."""

import contextlib
import gc
import json
import select
import signal
import socket
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

from gunicorn.http import errors
from gunicorn.workers.gthread import TConn, ThreadWorker

from shared.runtime.socket_deadlines import SocketDeadlines

#: How long a thread waits for a connection's next request before it gives the connection back.
NEXT_REQUEST_MS = 2

_STATUS = {
    errors.LimitRequestLine: HTTPStatus.REQUEST_URI_TOO_LONG,
    errors.LimitRequestHeaders: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    errors.ExpectationFailed: HTTPStatus.EXPECTATION_FAILED,
    errors.UnsupportedTransferCoding: HTTPStatus.NOT_IMPLEMENTED,
}


class DeadlineWorker(ThreadWorker):
    """A process of a web server: one thread for each request that is under way.

    Each request ends within the `request_seconds` of its `GunicornServer`: gunicorn itself limits neither a sender that
    drips its head nor one that does not read its answers.
    """

    def init_process(self) -> None:
        self._deadlines = SocketDeadlines()
        self._server: Any = self.app
        super().init_process()

    def load_wsgi(self) -> None:
        """Load the application first and act on a signal then: one that strikes an import breaks the import."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGQUIT, signal.SIGTERM})
        try:
            super().load_wsgi()
            # what is here now stays: neither a search for garbage nor the end of the process has to walk it
            gc.freeze()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def handle(self, conn: TConn) -> Any:
        """The requests of a connection that follow each other at once, each cut off when its time is over."""
        while True:
            with self._deadlines.within(conn.sock, self._server.request_seconds, socket.SHUT_RDWR):
                keep = super().handle(conn)
            # To hand a busy connection back to gunicorn's poller and out again costs as much as to answer it.
            if keep is not True or not self.alive or not _has_more(conn):
                return keep

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: BaseException) -> None:
        """Answer what is not HTTP in JSON like everything else. gunicorn's own way would log the sender's words."""
        if isinstance(exc, errors.ParseException):
            self._server.on_malformed()
            status = next((status for kind, status in _STATUS.items() if isinstance(exc, kind)), HTTPStatus.BAD_REQUEST)
        else:
            self.log.exception("A request failed.")
            status = HTTPStatus.INTERNAL_SERVER_ERROR
        with contextlib.suppress(OSError):
            client.sendall(_problem(status))


def _has_more(conn: Any) -> bool:
    """Whether the next request is there, or comes within a moment."""
    if conn.is_http2 or conn.parser.unreader.buf.getvalue():
        return False  # gunicorn's own way knows both
    poll = select.poll()
    poll.register(conn.sock, select.POLLIN)
    return bool(poll.poll(NEXT_REQUEST_MS))


def honour_close(application: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """Let `application` say `Connection: close`, which gunicorn drops from its headers.

    Without it a client would be free to send its next request in place of the rest of this one's body.
    """

    def call(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            if ("Connection", "close") in headers:
                start_response.__self__.force_close()
            return start_response(status, headers, exc_info)

        return application(environ, start)

    return call


def _problem(status: HTTPStatus) -> bytes:
    code = status.phrase.lower().replace(" ", "_")
    body = json.dumps({"error": code, "message": f"{status.phrase}: this server could not read the request."}).encode()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nConnection: close\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
