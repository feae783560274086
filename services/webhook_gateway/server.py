"""Runs the web process: gunicorn with several processes, and in each of them a relay for the messages it promises.

Imported only after PROMETHEUS_MULTIPROC_DIR is set: prometheus_client decides at import how it counts.
"""

from collections.abc import Callable, Mapping
from typing import Any

from gunicorn.app.base import BaseApplication

from services.webhook_gateway.app import create_app
from services.webhook_gateway.connections import Connections, honour_close
from services.webhook_gateway.payments.sql_books import SERVICE
from services.webhook_gateway.psps.base import Psp
from services.webhook_gateway.settings import GatewaySettings
from services.webhook_gateway.uploads import Objects
from shared.runtime import metrics
from shared.runtime.database import build_engine
from shared.runtime.publisher import Publisher
from shared.runtime.relay import Relay
from shared.runtime.web import PropagatingLogger, require_port

#: A webhook is refused with 503 rather than kept waiting for a lock.
LONGEST_STATEMENT_MS = 5000
#: How long a stopping process may take to answer what it has begun.
GRACE_SECONDS = 15
#: A worker that does not report to gunicorn for so long is replaced; waits on database and broker are far shorter.
HANG_SECONDS = 30
#: Connections of a process beyond its threads: those that wait for their next request.
IDLE_CONNECTIONS = 1024


class GatewayServer(BaseApplication):
    """gunicorn, set up in Python: every setting is visible here. `on_exit` is called when all of it has ended."""

    on_exit: Callable[[], None] = staticmethod(lambda: None)

    def __init__(self, settings: GatewaySettings, psps: Mapping[str, Psp], return_urls: Mapping[str, str]) -> None:
        self.settings = settings
        self._psps = psps
        self._return_urls = return_urls
        self._relay: Relay | None = None
        super().__init__()

    def run(self) -> None:
        """Serve until told to stop. Raises SettingsError where a port is taken."""
        settings = self.settings
        require_port(settings.gateway_host, settings.gateway_port, "NOUBA_GATEWAY_PORT")
        if settings.metrics_port:
            require_port(settings.metrics_host, settings.metrics_port, "NOUBA_METRICS_PORT")
        super().run()

    def load_config(self) -> None:
        settings = self.settings
        options: dict[str, Any] = {
            "bind": f"{settings.gateway_host}:{settings.gateway_port}",
            "worker_class": Connections,
            "workers": settings.gateway_processes,
            "threads": settings.gateway_threads,
            "worker_connections": settings.gateway_threads + IDLE_CONNECTIONS,
            "backlog": 1024,
            "keepalive": 30,
            "timeout": HANG_SECONDS,
            "graceful_timeout": GRACE_SECONDS,
            "limit_request_line": 4094,
            "limit_request_fields": 64,
            "limit_request_field_size": 8190,
            "logger_class": PropagatingLogger,
            # the access log would hold a payer's address and a SATIM order in the query
            "accesslog": None,
            "control_socket_disable": True,
            "when_ready": self._serve_metrics,
            "child_exit": lambda _arbiter, worker: metrics.mark_process_dead(worker.pid),  # type: ignore[no-untyped-call]
            "worker_exit": self._stop_relay,
            "on_exit": lambda _arbiter: self.on_exit(),
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """The application of one process; called after the fork, so that no connection is shared."""
        settings = self.settings
        url = settings.database_url.get_secret_value()
        engine = build_engine(
            url,
            pool_size=settings.gateway_connections,
            application="nouba gateway",
            autocommit=True,
            statement_timeout_ms=LONGEST_STATEMENT_MS,
        )
        relaying = build_engine(url, pool_size=1, application="nouba gateway relay")
        self._relay = Relay(relaying, Publisher(settings.rabbitmq_url.get_secret_value()), SERVICE)
        self._relay.start()
        objects = _objects(settings)
        return honour_close(create_app(settings, self._psps, engine, self._relay.wake, self._return_urls, objects))

    def _serve_metrics(self, _arbiter: object) -> None:
        if self.settings.metrics_port:
            metrics.serve_metrics(self.settings.metrics_port, self.settings.metrics_host)

    def _stop_relay(self, _arbiter: object, _worker: object) -> None:
        if self._relay is not None:
            self._relay.stop()


def _objects(settings: GatewaySettings) -> Objects | None:
    if not settings.s3_bucket:
        return None
    # boto3 takes 30 MB of every process, and only uploads need it
    from services.webhook_gateway.objects import S3Objects

    return S3Objects(settings.s3_bucket, settings.s3_endpoint_url, settings.s3_public_url)
