"""Background thread that refreshes the snapshot cache once a second.

Another thread publishes the age of the cache: the refresh may wait for a lock, or for a server that hangs.
"""

import threading
import time
from collections.abc import Callable

import structlog
from sqlalchemy.exc import SQLAlchemyError

from services.stats.api import metrics
from services.stats.api.snapshot_cache import SnapshotCache
from shared.runtime.logs import describe
from shared.runtime.periodic_thread import PeriodicThread

log = structlog.get_logger(__name__)

#: How soon a new version is seen.
REFRESH_SECONDS = 1.0
#: A database that did not answer for so long is unavailable, and answers carry their age.
UNAVAILABLE_SECONDS = 5.0
#: A load that takes longer is cancelled, if the server still reads the cancellation.
LOAD_SECONDS = 10
#: A process begins to answer after this, whether or not it has found the days.
FIRST_LOAD_SECONDS = 5.0


class CacheRefresher:
    """Holds the newest cache. `load` makes it from the one before; after any exception the next load may succeed."""

    def __init__(self, load: Callable[[SnapshotCache], SnapshotCache]) -> None:
        self._load_cache = load
        self._loaded_once = threading.Event()
        self._reported: SnapshotCache | None = None
        self._threads = [
            PeriodicThread("cache refresh", self._refresh, REFRESH_SECONDS, at_once=True),
            PeriodicThread("cache age", self._publish_age, REFRESH_SECONDS, at_once=True),
        ]
        self._reached = float("-inf")
        self._is_unavailable = False
        #: The newest days that are known; none until the database answered once.
        self.cache: SnapshotCache | None = None

    def start(self) -> None:
        """Load once, so that the first reader finds the days, and go on in threads. Call it after the fork."""
        for thread in self._threads:
            thread.start()
        self._loaded_once.wait(FIRST_LOAD_SECONDS)

    def stop(self) -> None:
        for thread in self._threads:
            thread.request_stop()

    @property
    def silent_seconds(self) -> float:
        """How long ago the database last said which versions are the newest."""
        return time.monotonic() - self._reached

    def refresh(self) -> None:
        """Load now. What was known stays if the database is unavailable."""
        began = time.monotonic()
        before = self.cache or SnapshotCache()
        try:
            found = self._load_cache(before)
        except Exception as error:  # noqa: BLE001 - whatever it is, a thread that ended would let the days grow old
            metrics.REFRESHES.labels("failed").inc()
            if not self._is_unavailable:
                _log_failure(error)
            self._is_unavailable = True
        else:
            metrics.REFRESHES.labels("same" if found is self.cache else "changed").inc()
            if self._is_unavailable:
                log.info("the database is back", days=len(found.days))
            self._is_unavailable = False
            self.cache, self._reached = found, began

    def _refresh(self) -> None:
        self.refresh()
        self._loaded_once.set()

    def _publish_age(self) -> None:
        # the first load is published at once, and no later than any other
        self._loaded_once.wait(REFRESH_SECONDS)
        cache = self.cache
        metrics.show(cache, self.silent_seconds)
        if cache is not None and cache is not self._reported:
            metrics.show_numbers(cache)
            self._reported = cache


def _log_failure(error: Exception) -> None:
    if isinstance(error, SQLAlchemyError):
        log.warning("the database is away; answering from memory until it is back", error=describe(error))
    else:
        log.error("loading newer days failed; answering from memory until it succeeds", exc_info=error)
