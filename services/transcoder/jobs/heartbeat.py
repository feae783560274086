"""Renews the lease of a task while it runs, and stops the task when the lease is lost."""

import threading
from types import TracebackType
from typing import Protocol, Self

import structlog

from services.transcoder.jobs.model import Lease
from services.transcoder.metrics import LEASES_LOST

log = structlog.get_logger(__name__)


class LeaseLostError(Exception):
    """Another worker has the task, or the job is over: what was made here counts for nothing."""


class LeaseStore(Protocol):
    """Where leases are renewed."""

    def beat(self, lease: Lease, done_seconds: float) -> bool:
        """Renew the lease; false where it was lost or the job is over. Does not wait for the database."""
        ...


class LeaseHeartbeat:
    """A thread that renews one lease, reports how far the task is, and notices when it is lost."""

    def __init__(self, jobs: LeaseStore, lease: Lease, stopping: threading.Event, beat_seconds: float) -> None:
        self._jobs = jobs
        self._lease = lease
        self._stopping = stopping
        self._beat_seconds = beat_seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"lease {lease.task_id}", daemon=True)
        #: Seconds of the lesson that are made.
        self.done_seconds = 0.0
        self.lost = False

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def stop(self) -> bool:
        """Whether the work has to stop: the lease is lost, the job is over, or the worker is to end."""
        return self.lost or self._stopping.is_set()

    @property
    def ending(self) -> bool:
        """Whether the worker is to end."""
        return self._stopping.is_set()

    def _run(self) -> None:
        while not self._over.wait(self._beat_seconds):
            try:
                is_held = self._jobs.beat(self._lease, self.done_seconds)
            except Exception:
                # a thread that ended would let the lease run out beside work that goes on
                log.exception("a lease was not renewed, trying again", task_id=self._lease.task_id)
                continue
            if not is_held:
                self.lost = True
                LEASES_LOST.inc()
                log.info("stopped: the job is over, or another worker has this task")
                return
