"""Gunicorn server of the gateway; each process runs a relay.

Imported only after PROMETHEUS_MULTIPROC_DIR is set: prometheus_client decides at import how it counts.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import Engine

from services.webhook_gateway.app import create_app
from services.webhook_gateway.http.readiness import check
from services.webhook_gateway.inbox.accept import Inbox
from services.webhook_gateway.inbox.postgres import PostgresInbox
from services.webhook_gateway.inbox.spool.drain import Drain
from services.webhook_gateway.inbox.spool.fallback_inbox import Presence, SpoolingInbox
from services.webhook_gateway.inbox.spool.spool import Spool
from services.webhook_gateway.inbox.spool.sqlite_file import prepare
from services.webhook_gateway.metrics import REQUESTS
from services.webhook_gateway.providers.base import Provider
from services.webhook_gateway.school_api.uploads.uploads import Objects
from services.webhook_gateway.settings import GatewaySettings
from shared.contracts.routes import GATEWAY
from shared.messaging.relay import Relay, connections_of
from shared.runtime import metrics
from shared.runtime.database import build_engine
from shared.runtime.gunicorn import GunicornServer
from shared.runtime.gunicorn_worker import honour_close


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long a webhook waits for the database, at each place where it may have to wait."""

    statement_ms: int
    connect_seconds: int
    pool_seconds: float


#: A webhook is refused with 503 rather than kept waiting for a lock.
WITHOUT_SPOOL = Timeouts(statement_ms=5000, connect_seconds=3, pool_seconds=2)
#: Where there is a spool to go to, nothing is gained by waiting longer. Only the first that finds the database away
#: waits at all; two seconds are the least that libpq knows.
WITH_SPOOL = Timeouts(statement_ms=2000, connect_seconds=2, pool_seconds=0.5)
#: A server that did not end a statement by itself by then does not answer at all.
ANSWER_SECONDS = 0.5
#: How long a stopping process may take to answer what it has begun.
GRACE_SECONDS = 15
#: A worker that does not report to gunicorn for so long is replaced; waits on database and broker are far shorter.
HANG_SECONDS = 30
#: Connections of a process beyond its threads: those that wait for their next request.
IDLE_CONNECTIONS = 1024


class GatewayServer(GunicornServer):
    """The gateway's processes: each takes webhooks and publishes the outbox rows of its own service."""

    on_malformed = staticmethod(lambda: REQUESTS.labels("none", "malformed").inc())

    def __init__(
        self, settings: GatewaySettings, providers: Mapping[str, Provider], return_urls: Mapping[str, str]
    ) -> None:
        self.settings = settings
        self.request_seconds = settings.gateway_request_seconds
        self._providers = providers
        self._return_urls = return_urls
        self._open_objects = _objects(settings)
        self._relay: Relay | None = None
        self._drain: Drain | None = None
        super().__init__(settings, settings.gateway_host, settings.gateway_port, "NOUBA_GATEWAY_PORT")

    def run(self) -> None:
        if self.settings.gateway_spool_dir:
            prepare(self.settings.gateway_spool_dir, self.settings.gateway_spool_max_bytes)
        metrics.leave_out_this_process()
        super().run()

    def options(self) -> dict[str, Any]:
        settings = self.settings
        return {
            "workers": settings.gateway_processes,
            "threads": settings.gateway_threads,
            "worker_connections": settings.gateway_threads + IDLE_CONNECTIONS,
            "keepalive": 30,
            "timeout": HANG_SECONDS,
            "graceful_timeout": GRACE_SECONDS,
            "worker_exit": self._stop_threads,
        }

    def load(self) -> Any:
        """The application of one process; called after the fork, so that no connection is shared."""
        settings = self.settings
        url = settings.intake_url
        timeouts = WITHOUT_SPOOL if settings.gateway_spool_dir is None else WITH_SPOOL
        engine = school = self._engine(url, "nouba gateway", timeouts)
        if settings.intake_database_url is not None:
            school = self._engine(settings.database_url.get_secret_value(), "nouba gateway api", timeouts)
        relaying = build_engine(url, pool_size=connections_of(GATEWAY), application="nouba gateway relay")
        self._relay = Relay(relaying, settings.rabbitmq_url.get_secret_value(), GATEWAY)
        self._relay.start()
        inbox: Inbox = PostgresInbox(engine, timeouts.statement_ms / 1000 + ANSWER_SECONDS)
        spool = None
        if settings.gateway_spool_dir:
            spool = Spool(
                settings.gateway_spool_dir, settings.gateway_spool_max_bytes, settings.gateway_spool_max_events
            )
            inbox = self._start_drain(inbox, spool, self._relay.wake)
        app = create_app(
            settings,
            self._providers,
            engine,
            self._relay.wake,
            self._return_urls,
            self._open_objects(),
            inbox,
            partial(check, engine, spool, self._drain),
            lambda: self._drain is not None and self._drain.is_database_unavailable,
            school,
        )
        return honour_close(app)

    def _engine(self, url: str, application: str, timeouts: Timeouts) -> Engine:
        return build_engine(
            url,
            pool_size=self.settings.gateway_connections,
            application=application,
            autocommit=True,
            statement_timeout_ms=timeouts.statement_ms,
            connect_timeout_seconds=timeouts.connect_seconds,
            pool_timeout_seconds=timeouts.pool_seconds,
        )

    def _start_drain(self, inbox: Inbox, spool: Spool, wake: Callable[[], None]) -> Inbox:
        presence = Presence()
        engine = build_engine(
            self.settings.intake_url,
            pool_size=1,
            application="nouba gateway drain",
            statement_timeout_ms=WITHOUT_SPOOL.statement_ms,
        )
        self._drain = Drain(engine, spool, presence, wake)
        self._drain.start()
        return SpoolingInbox(inbox, spool, presence)

    def _stop_threads(self, _arbiter: object, _worker: object) -> None:
        if self._drain is not None:
            self._drain.stop()
        if self._relay is not None:
            self._relay.stop()


def _objects(settings: GatewaySettings) -> Callable[[], Objects | None]:
    """Opens the object store; called after the fork, as all that connects."""
    if not settings.s3_bucket:
        return lambda: None
    # boto3 takes 30 MB and a fifth of a start, and only uploads need it; here, before the fork, processes share it
    from services.webhook_gateway.school_api.uploads.s3 import S3Objects

    # a part of the request's time is needed to read it and to answer
    within_seconds = 0.8 * settings.gateway_request_seconds
    return partial(S3Objects, settings.s3_bucket, settings.s3_endpoint_url, settings.s3_public_url, within_seconds)
