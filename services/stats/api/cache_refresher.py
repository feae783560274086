"""Background thread that refreshes the snapshot cache once a second.

Another thread tells Prometheus how old the shelf is: the one that asks may wait for a lock, or for a server that hangs.
"""

import threading
import time
from collections.abc import Callable

import structlog
from sqlalchemy.exc import SQLAlchemyError

from services.stats.api import metrics
from services.stats.api.cache import SnapshotCache
from shared.runtime.logs import describe
from shared.runtime.periodic_thread import PeriodicThread

log = structlog.get_logger(__name__)

#: How soon a new version is seen.
REFRESH_SECONDS = 1.0
#: A database that did not answer for so long is away, and readers are told how old their answer may be.
AWAY_SECONDS = 5.0
#: A look that takes longer is given up, where the server still hears that.
LOOK_SECONDS = 10
#: A process begins to answer after this, whether or not it has found the days.
FIRST_LOOK_SECONDS = 5.0


class CacheRefresher:
    """Holds the newest shelf. `look` makes it of the one before; whatever it raises, the next look may succeed."""

    def __init__(self, look: Callable[[SnapshotCache], SnapshotCache]) -> None:
        self._look = look
        self._looked = threading.Event()
        self._told: SnapshotCache | None = None
        self._threads = [
            PeriodicThread("cache refresh", self._refresh, REFRESH_SECONDS, at_once=True),
            PeriodicThread("cache age", self._tell, REFRESH_SECONDS, at_once=True),
        ]
        self._reached = float("-inf")
        self._away = False
        #: The newest days that are known; none until the database answered once.
        self.shelf: SnapshotCache | None = None

    def start(self) -> None:
        """Look once, so that the first reader finds the days, and go on in threads. Call it after the fork."""
        for thread in self._threads:
            thread.start()
        self._looked.wait(FIRST_LOOK_SECONDS)

    def stop(self) -> None:
        for thread in self._threads:
            thread.request_stop()

    @property
    def silent_seconds(self) -> float:
        """How long ago the database last said which versions are the newest."""
        return time.monotonic() - self._reached

    def refresh(self) -> None:
        """Look now. What was known stays if the database is away."""
        began = time.monotonic()
        before = self.shelf or SnapshotCache()
        try:
            found = self._look(before)
        except Exception as error:  # noqa: BLE001 - whatever it is, a thread that ended would let the days grow old
            metrics.REFRESHES.labels("failed").inc()
            if not self._away:
                _log_failure(error)
            self._away = True
        else:
            metrics.REFRESHES.labels("same" if found is self.shelf else "changed").inc()
            if self._away:
                log.info("the database is back", days=len(found.days))
            self._away = False
            self.shelf, self._reached = found, began

    def _refresh(self) -> None:
        self.refresh()
        self._looked.set()

    def _tell(self) -> None:
        # the first look is told of at once, and no later than any other
        self._looked.wait(REFRESH_SECONDS)
        shelf = self.shelf
        metrics.show(shelf, self.silent_seconds)
        if shelf is not None and shelf is not self._told:
            metrics.show_numbers(shelf)
            self._told = shelf


def _log_failure(error: Exception) -> None:
    if isinstance(error, SQLAlchemyError):
        log.warning("the database is away; answering from memory until it is back", error=describe(error))
    else:
        log.error("looking for newer days failed; answering from memory until it succeeds", exc_info=error)
