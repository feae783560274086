"""The gunicorn server of every service: its options, log lines, metrics and ports."""

import gc
import logging
import socket
import time
from collections.abc import Callable
from typing import Any, Protocol

from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger

from shared.runtime import metrics
from shared.runtime.gunicorn_worker import DeadlineWorker
from shared.runtime.settings import SettingsError

#: How long the processes of a killed predecessor may hold its ports.
PREDECESSOR_SECONDS = 5.0


class MetricsSettings(Protocol):
    """Where a server answers Prometheus; port 0 switches it off."""

    @property
    def metrics_host(self) -> str: ...
    @property
    def metrics_port(self) -> int: ...


class GunicornServer(BaseApplication):
    """gunicorn, set up in Python: every option is visible here or in the `options` of a service.

    A subclass gives `load` (called after the fork, so that no connection is shared) and `options`. `on_exit` is called
    when all processes have ended, `on_malformed` for each request that is not HTTP.
    """

    on_exit: Callable[[], None] = staticmethod(lambda: None)
    on_malformed: Callable[[], None] = staticmethod(lambda: None)
    #: A request is read and answered within this.
    request_seconds = 15.0

    def __init__(self, settings: MetricsSettings, host: str, port: int, port_setting: str) -> None:
        self._metrics_address = settings.metrics_host, settings.metrics_port
        self._address = host, port, port_setting
        super().__init__()

    def options(self) -> dict[str, Any]:
        """The options of gunicorn that differ from those of every server."""
        return {}

    def run(self) -> None:
        """Serve until a signal ends it. Raises SettingsError where a port is taken."""
        require_port(*self._address)
        host, port = self._metrics_address
        if port:
            require_port(host, port, "NOUBA_METRICS_PORT")
        # a search for garbage would give each process a copy of the memory that it shares with this one
        gc.freeze()
        super().run()

    def load_config(self) -> None:
        host, port, _ = self._address
        host = host.strip("[]")
        options: dict[str, Any] = {
            "bind": f"{f'[{host}]' if ':' in host else host}:{port}",
            "worker_class": DeadlineWorker,
            "backlog": 1024,
            "limit_request_line": 4094,
            "limit_request_fields": 64,
            "limit_request_field_size": 8190,
            # a client may choose neither the address's prefix (SCRIPT_NAME) nor its scheme: gunicorn would believe each
            # one on this machine; what a proxy says is read by NOUBA_*_PROXIES alone
            "forwarder_headers": "",
            "secure_scheme_headers": {},
            "logger_class": PropagatingLogger,
            # the access log would hold a payer's address and a SATIM order in the query
            "accesslog": None,
            "control_socket_disable": True,
            "when_ready": self._serve_metrics,
            "child_exit": lambda _arbiter, worker: metrics.retire_process(worker.pid),
            "on_exit": lambda _arbiter: self.on_exit(),
            **self.options(),
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def _serve_metrics(self, _arbiter_or_worker: object) -> None:
        host, port = self._metrics_address
        if port:
            metrics.serve_metrics(port, host)


class PropagatingLogger(Logger):
    """Leaves gunicorn's lines to the handlers that all other lines go to."""

    def _set_handler(self, log: logging.Logger, *_where: Any, **_how: Any) -> None:
        log.propagate = True


def require_port(host: str, port: int, setting: str) -> None:
    """Wait until a killed predecessor's processes have left the port. Raises SettingsError where somebody stays."""
    deadline = time.monotonic() + PREDECESSOR_SECONDS
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    while True:
        try:
            socket.create_server((host.strip("[]"), port), family=family).close()
        except OSError as error:
            if time.monotonic() > deadline:
                raise SettingsError(
                    f"{host}:{port} cannot be used ({error.strerror}): stop what listens there, or set {setting}."
                ) from None
            time.sleep(0.1)
        else:
            return
