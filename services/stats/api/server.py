"""Gunicorn server of the statistics API; each process caches all days.

Imported only after PROMETHEUS_MULTIPROC_DIR is set: prometheus_client decides at import how it counts.
"""

from functools import partial
from typing import Any

from services.stats.api.app import create_app
from services.stats.api.cache_refresher import LOAD_SECONDS, CacheRefresher
from services.stats.api.settings import ApiSettings
from services.stats.api.snapshot_cache import refresh
from services.stats.rows.reader import RowReader
from services.stats.sections.base import Rules
from shared.runtime import metrics
from shared.runtime.database import build_engine
from shared.runtime.gunicorn import GunicornServer

#: How long a stopping process may take to answer what it has begun.
GRACE_SECONDS = 10
#: A request has to be read and answered within this.
REQUEST_SECONDS = 10.0
#: A page of rows that takes longer to find is given up; so many readers of a process search for some at once.
ROW_SECONDS, ROW_READERS = 8, 2
#: A worker that does not report to gunicorn for so long is replaced.
HANG_SECONDS = 30


class StatsServer(GunicornServer):
    """The read API's processes, each with the stored days in memory."""

    request_seconds = REQUEST_SECONDS

    def __init__(self, settings: ApiSettings) -> None:
        self.settings = settings
        self._watch: CacheRefresher | None = None
        super().__init__(settings, settings.stats_host, settings.stats_port, "NOUBA_STATS_PORT")

    def run(self) -> None:
        metrics.leave_out_this_process()
        super().run()

    def options(self) -> dict[str, Any]:
        return {
            "workers": self.settings.stats_processes,
            "threads": self.settings.stats_threads,
            "keepalive": 30,
            "timeout": HANG_SECONDS,
            "graceful_timeout": GRACE_SECONDS,
            "worker_exit": self._stop_watch,
        }

    def load(self) -> Any:
        """The application of one process; called after the fork, so that no connection is shared."""
        url = self.settings.database_url.get_secret_value()
        engine = build_engine(
            url,
            pool_size=1,
            application="nouba stats api",
            autocommit=True,
            statement_timeout_ms=LOAD_SECONDS * 1000,
        )
        self._watch = CacheRefresher(partial(refresh, engine))
        self._watch.start()
        return create_app(self.settings, self._watch, self._row_reader(url))

    def _row_reader(self, url: str) -> RowReader:
        """Rows are read from the database while a reader waits, on connections of their own."""
        engine = build_engine(
            url,
            pool_size=ROW_READERS,
            application="nouba stats rows",
            statement_timeout_ms=ROW_SECONDS * 1000,
        )
        rules = Rules(self.settings.currency, self.settings.stats_grace_days)
        return RowReader(engine, rules, self.settings.zone, page_seconds=ROW_SECONDS)

    def _stop_watch(self, _arbiter: object, _worker: object) -> None:
        if self._watch is not None:
            self._watch.stop()
