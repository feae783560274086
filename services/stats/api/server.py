"""Runs the read API: gunicorn with several processes, each with all kept days in its memory.

Imported only after PROMETHEUS_MULTIPROC_DIR is set: prometheus_client decides at import how it counts.
"""

import contextlib
import gc
import json
import socket
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.http import errors
from gunicorn.workers.gthread import TConn, ThreadWorker

from services.stats.api.app import create_app
from services.stats.api.cache import refresh
from services.stats.api.cache_refresher import LOOK_SECONDS, CacheRefresher
from services.stats.api.settings import ApiSettings
from shared.runtime import metrics
from shared.runtime.database import build_engine
from shared.runtime.gunicorn import PropagatingLogger, require_port
from shared.runtime.socket_deadlines import SocketDeadlines

#: How long a stopping process may take to answer what it has begun.
GRACE_SECONDS = 10
#: A request has to be read and answered within this.
REQUEST_SECONDS = 10
#: A worker that does not report to gunicorn for so long is replaced.
HANG_SECONDS = 30


class StatsServer(BaseApplication):
    """gunicorn, set up in Python: every setting is visible here. `on_exit` is called when all of it has ended."""

    on_exit: Callable[[], None] = staticmethod(lambda: None)

    def __init__(self, settings: ApiSettings) -> None:
        self.settings = settings
        self._watch: CacheRefresher | None = None
        super().__init__()

    def run(self) -> None:
        """Serve until told to stop. Raises SettingsError where a port is taken."""
        settings = self.settings
        require_port(settings.stats_host, settings.stats_port, "NOUBA_STATS_PORT")
        if settings.metrics_port:
            require_port(settings.metrics_host, settings.metrics_port, "NOUBA_METRICS_PORT")
        metrics.leave_out_this_process()
        super().run()

    def load_config(self) -> None:
        settings = self.settings
        host = settings.stats_host.strip("[]")
        options: dict[str, Any] = {
            "bind": f"{f'[{host}]' if ':' in host else host}:{settings.stats_port}",
            "worker_class": Readers,
            "workers": settings.stats_processes,
            "threads": settings.stats_threads,
            "backlog": 1024,
            "keepalive": 30,
            "timeout": HANG_SECONDS,
            "graceful_timeout": GRACE_SECONDS,
            "limit_request_line": 4094,
            "limit_request_fields": 64,
            "logger_class": PropagatingLogger,
            "accesslog": None,
            "control_socket_disable": True,
            "when_ready": self._serve_metrics,
            "child_exit": lambda _arbiter, worker: metrics.mark_process_dead(worker.pid),  # type: ignore[no-untyped-call]
            "worker_exit": self._stop_watch,
            "on_exit": lambda _arbiter: self.on_exit(),
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """The application of one process; called after the fork, so that no connection is shared."""
        url = self.settings.database_url.get_secret_value()
        engine = build_engine(
            url,
            pool_size=1,
            application="nouba stats api",
            autocommit=True,
            statement_timeout_ms=LOOK_SECONDS * 1000,
        )
        self._watch = CacheRefresher(partial(refresh, engine))
        self._watch.start()
        app = create_app(self.settings, self._watch)
        # what is here now stays: the collector need not walk it while a reader waits
        gc.freeze()
        return app

    def _serve_metrics(self, _arbiter: object) -> None:
        if self.settings.metrics_port:
            metrics.serve_metrics(self.settings.metrics_port, self.settings.metrics_host)

    def _stop_watch(self, _arbiter: object, _worker: object) -> None:
        if self._watch is not None:
            self._watch.stop()


class Readers(ThreadWorker):
    """gunicorn's threads, which answer what is not HTTP in JSON like everything else, and wait for nobody for ever."""

    def init_process(self) -> None:
        self._deadlines = SocketDeadlines()
        super().init_process()

    def handle(self, conn: TConn) -> Any:
        """One request of a connection: a sender that drips its head, or does not read its answer, is cut off."""
        with self._deadlines.within(conn.sock, REQUEST_SECONDS, socket.SHUT_RDWR):
            return super().handle(conn)

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: BaseException) -> None:
        status = HTTPStatus.BAD_REQUEST
        if isinstance(exc, errors.LimitRequestLine):
            status = HTTPStatus.REQUEST_URI_TOO_LONG
        elif isinstance(exc, errors.LimitRequestHeaders):
            status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        elif not isinstance(exc, errors.ParseException):
            self.log.exception("A request failed.")
            status = HTTPStatus.INTERNAL_SERVER_ERROR
        code = status.phrase.lower().replace(" ", "_")
        told = {"error": code, "message": f"{status.phrase}: this server could not read the request."}
        body = json.dumps(told).encode()
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\nConnection: close\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        with contextlib.suppress(OSError):
            client.sendall(head.encode() + body)
