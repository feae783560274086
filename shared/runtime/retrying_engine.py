"""Retries transactions over a restart of the database."""

import time
from collections.abc import Callable
from typing import TypeVar

import structlog
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, TimeoutError

from shared.runtime.logs import describe

#: A restart takes seconds. After this the work fails, and the worker that gets its message next does it again.
PATIENCE_SECONDS = 60.0
_PAUSE_SECONDS = 0.5

log = structlog.get_logger(__name__)
T = TypeVar("T")


class RetryingEngine:
    """Runs functions in transactions. Each may run more than once, and find its own earlier commit."""

    def __init__(self, engine: Engine, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._engine = engine
        self._patience_seconds = patience_seconds

    def run(self, work: Callable[[Connection], T]) -> T:
        """What `work` returns, once it is committed. Raises what the database says where its patience is over."""
        deadline = time.monotonic() + self._patience_seconds
        while True:
            try:
                with self._engine.begin() as connection:
                    return work(connection)
            except (OperationalError, InterfaceError, TimeoutError) as error:
                self._wait(error, deadline)
            except DBAPIError as error:
                if not error.connection_invalidated:
                    raise
                self._wait(error, deadline)

    def attempt(self, work: Callable[[Connection], T]) -> T | None:
        """What `work` returns, or None where the database is away."""
        try:
            with self._engine.begin() as connection:
                return work(connection)
        except (OperationalError, InterfaceError, TimeoutError) as error:
            log.warning("the database did not answer", error=describe(error))
            return None

    def _wait(self, error: Exception, deadline: float) -> None:
        if time.monotonic() > deadline:
            raise error
        log.warning("the database did not answer, trying again", error=describe(error))
        time.sleep(_PAUSE_SECONDS)
