"""A thread of the worker that does the same thing again and again, and outlives every fault of it."""

import threading
from collections.abc import Callable

import structlog
from sqlalchemy.exc import SQLAlchemyError

from shared.runtime.logs import describe

log = structlog.get_logger(__name__)


class PeriodicThread:
    """Calls `look` every `seconds`, and at once again where it says that there may be more."""

    def __init__(self, name: str, look: Callable[[], bool], seconds: float) -> None:
        self._name = name
        self._look = look
        self._seconds = seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_seconds: float = 5.0) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout_seconds)

    def _run(self) -> None:
        pause_seconds = self._seconds
        while not self._stopping.wait(pause_seconds):
            pause_seconds = self._seconds
            try:
                if self._look():
                    pause_seconds = 0.0
            except SQLAlchemyError as error:
                # its own words may hold a row
                log.warning("a round failed", round=self._name, error=describe(error))
            except Exception:
                log.exception("a round failed", round=self._name)
