"""Runs the web process: gunicorn with several processes, and in each of them a relay for the messages it promises.

Imported only after PROMETHEUS_MULTIPROC_DIR is set: prometheus_client decides at import how it counts.
"""

from collections.abc import Mapping
from typing import Any

from gunicorn.app.base import BaseApplication

from services.webhook_gateway.app import create_app
from services.webhook_gateway.payments.sql_books import SERVICE
from services.webhook_gateway.psps.base import Psp
from services.webhook_gateway.settings import GatewaySettings
from shared.runtime import logs, metrics
from shared.runtime.database import build_engine
from shared.runtime.publisher import Publisher
from shared.runtime.relay import Relay

#: How long a stopping process may take to answer what it has begun.
GRACE_SECONDS = 15
#: A worker that does not report to gunicorn for so long is replaced; waits on database and broker are far shorter.
HANG_SECONDS = 30


class GatewayServer(BaseApplication):
    """gunicorn, set up in Python: every setting is visible here."""

    def __init__(self, settings: GatewaySettings, psps: Mapping[str, Psp], return_urls: Mapping[str, str]) -> None:
        self._settings = settings
        self._psps = psps
        self._return_urls = return_urls
        self._relay: Relay | None = None
        super().__init__()

    def load_config(self) -> None:
        settings = self._settings
        options: dict[str, Any] = {
            "bind": f"{settings.gateway_host}:{settings.gateway_port}",
            "worker_class": "gthread",
            "workers": settings.gateway_processes,
            "threads": settings.gateway_threads,
            "backlog": 1024,
            "keepalive": 30,
            "timeout": HANG_SECONDS,
            "graceful_timeout": GRACE_SECONDS,
            "limit_request_line": 4094,
            "limit_request_fields": 64,
            "limit_request_field_size": 8190,
            # the access log would hold a payer's address and a SATIM order in the query
            "accesslog": None,
            "control_socket_disable": True,
            "when_ready": self._serve_metrics,
            "child_exit": lambda _arbiter, worker: metrics.mark_process_dead(worker.pid),
            "worker_exit": self._stop_relay,
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """The application of one process; called after the fork, so that no connection is shared."""
        logs.configure("gateway")
        settings = self._settings
        url = settings.database_url.get_secret_value()
        engine = build_engine(url, pool_size=settings.gateway_threads, application="nouba gateway", autocommit=True)
        relaying = build_engine(url, pool_size=1, application="nouba gateway relay")
        self._relay = Relay(relaying, Publisher(settings.rabbitmq_url.get_secret_value()), SERVICE)
        self._relay.start()
        return create_app(settings, self._psps, engine, self._relay.wake, self._return_urls)

    def _serve_metrics(self, _arbiter: object) -> None:
        if self._settings.metrics_port:
            metrics.serve_metrics(self._settings.metrics_port, self._settings.metrics_host)

    def _stop_relay(self, _arbiter: object, _worker: object) -> None:
        if self._relay is not None:
            self._relay.stop()
