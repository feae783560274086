"""The playback service's web server: one process with many threads."""

from collections.abc import Callable
from functools import partial
from typing import Any

import structlog
from sqlalchemy.exc import SQLAlchemyError

from services.playback.app import PlaybackApp
from services.playback.postgres_keys import PostgresKeys
from services.playback.s3_files import S3Files
from services.playback.settings import PlaybackSettings
from services.playback.views import FLUSH_EVERY_SECONDS, PostgresViews, ViewRecorder
from shared.runtime.database import build_engine
from shared.runtime.gunicorn import GunicornServer
from shared.runtime.hsts import with_hsts
from shared.runtime.logs import describe
from shared.runtime.periodic_thread import PeriodicThread
from shared.runtime.playback_links import normalise_address, split_secrets

log = structlog.get_logger(__name__)

#: Keys are asked for once a lesson and viewer, in milliseconds; one connection writes views.
KEY_CONNECTIONS = 4
#: Connections beyond the threads: those that wait for their next request.
IDLE_CONNECTIONS = 1024


class PlaybackServer(GunicornServer):
    """The one process; another container serves more viewers."""

    def __init__(self, settings: PlaybackSettings) -> None:
        self.settings = settings
        self._recorder: ViewRecorder | None = None
        self._flushing: PeriodicThread | None = None
        self.request_seconds = settings.playback_request_seconds
        super().__init__(settings, settings.playback_host, settings.playback_port, "NOUBA_PLAYBACK_PORT")

    def options(self) -> dict[str, Any]:
        # it counts in this one process, and not in files for several
        return {
            "workers": 1,
            "threads": self.settings.playback_threads,
            "worker_connections": self.settings.playback_threads + IDLE_CONNECTIONS,
            "keepalive": 30,
            "timeout": 60,
            "graceful_timeout": 15,
            "when_ready": lambda _arbiter: None,
            "child_exit": lambda _arbiter, _worker: None,
            "post_worker_init": self._serve_metrics,
            "worker_exit": self._flush_rest,
        }

    def load(self) -> Any:
        settings = self.settings
        engine = build_engine(
            settings.database_url.get_secret_value(),
            pool_size=KEY_CONNECTIONS,
            application="nouba playback",
            autocommit=True,
            statement_timeout_ms=5000,
            connect_timeout_seconds=3,
            pool_timeout_seconds=2,
        )
        self._recorder = recorder = ViewRecorder(PostgresViews(engine), settings.zone)
        self._flushing = PeriodicThread("lesson views", recorder.flush, FLUSH_EVERY_SECONDS)
        self._flushing.start()
        app = PlaybackApp(
            split_secrets(settings.playback_secrets),
            S3Files(settings.s3_bucket, settings.s3_endpoint_url or None, settings.playback_threads),
            PostgresKeys(engine),
            recorder,
            client_address(settings.playback_proxies),
        )
        return with_hsts(app, settings.https)

    def _flush_rest(self, _arbiter: object, _worker: object) -> None:
        if self._flushing is None or self._recorder is None:
            return
        self._flushing.stop()
        try:
            while self._recorder.flush():
                pass
        except SQLAlchemyError as error:
            log.error("the last reports of players are lost", fault=describe(error))


def client_address(proxies: int) -> Callable[[dict[str, Any]], str]:
    """Finds a viewer's IP address, with `proxies` in front of us that each add to `X-Forwarded-For`."""
    return partial(_client_of, proxies)


def _client_of(proxies: int, environ: dict[str, Any]) -> str:
    found = str(environ.get("REMOTE_ADDR", ""))
    if proxies:
        # what stands further left than our own proxies wrote is the client's own invention
        named = [part.strip() for part in str(environ.get("HTTP_X_FORWARDED_FOR", "")).split(",")]
        if len(named) >= proxies:
            found = named[-proxies]
    try:
        return normalise_address(found)
    except ValueError:
        return ""
