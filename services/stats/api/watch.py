"""Keeps a process's shelf fresh: one thread asks the database once a second, and no reader ever waits for it."""

import threading
import time
from collections.abc import Callable

import structlog
from sqlalchemy.exc import SQLAlchemyError

from services.stats.api import metrics
from services.stats.api.shelf import Shelf
from shared.runtime.logs import describe

log = structlog.get_logger(__name__)

#: How soon a new version is seen.
REFRESH_SECONDS = 1.0
#: A database that did not answer for so long is away, and readers are told how old their answer may be.
AWAY_SECONDS = 5.0


class Watch:
    """Holds the newest shelf. `look` makes it of the one before, and may raise SQLAlchemyError."""

    def __init__(self, look: Callable[[Shelf], Shelf]) -> None:
        self._look = look
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._reached = float("-inf")
        self._away = False
        #: The newest days that are known; none until the database answered once.
        self.shelf: Shelf | None = None

    def start(self) -> None:
        """Look once, so that the first reader finds the days; then go on in a thread. Call it after the fork."""
        self.refresh()
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()

    @property
    def silent_seconds(self) -> float:
        """How long ago the database last said which versions are the newest."""
        return time.monotonic() - self._reached

    def refresh(self) -> None:
        """Look now. What was known stays if the database is away."""
        began = time.monotonic()
        before = self.shelf or Shelf()
        try:
            found = self._look(before)
        except SQLAlchemyError as error:
            metrics.REFRESHES.labels("failed").inc()
            if not self._away:
                log.warning("the database is away; answering from memory until it is back", error=describe(error))
            self._away = True
        else:
            metrics.REFRESHES.labels("same" if found is self.shelf else "changed").inc()
            if self._away:
                log.info("the database is back", days=len(found.days))
            self._away = False
            self.shelf, self._reached = found, began
        metrics.show(self.shelf, self.silent_seconds)

    def _run(self) -> None:
        while not self._stopping.wait(REFRESH_SECONDS):
            self.refresh()
