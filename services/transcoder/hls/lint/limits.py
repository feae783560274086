"""Limits of a lint run: memory, files, time.

Each file is bounded where it is fetched; a server can still send any number of them, and a few bytes of a playlist or a
segment can become a million objects. The kernel measures memory: an allocation beyond the limit raises MemoryError.
"""

import contextlib
import resource
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path


class LimitError(Exception):
    """The lesson takes more than the limits; the message says which option raises them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The options of `nouba transcoder lint`."""

    mib: int = 2048
    files: int = 20_000
    seconds: float = 900.0

    @property
    def memory_sentence(self) -> str:
        """The message of a MemoryError."""
        return (
            f"The lesson takes more than {self.mib} MiB of memory; the rest is not checked. "
            "Raise --max-mib where you trust its server."
        )


@contextlib.contextmanager
def enforced(limits: Limits | None) -> Iterator[None]:
    """Limit memory and time of the block: it raises MemoryError, or LimitError once its time is over.

    Memory is what the process takes beyond its use at the start (RLIMIT_DATA, the soft limit: a child may raise its
    own). Time is an alarm, which reaches the main thread alone: in another one there is no time limit.
    """
    if limits is None:
        yield
        return
    active = True

    def give_up(*_: object) -> None:
        if active:
            raise LimitError(
                f"The check took longer than {limits.seconds:.0f} s; the rest is not checked. "
                "Raise --max-seconds where you trust the lesson's server."
            )

    before = resource.getrlimit(resource.RLIMIT_DATA)
    lowered = _lower(before, _data_bytes() + (limits.mib << 20))
    with _alarm(limits.seconds, give_up):
        try:
            resource.setrlimit(resource.RLIMIT_DATA, lowered)
            yield
        finally:
            # first, before anything that the alarm could interrupt or that allocates
            active = False
            resource.setrlimit(resource.RLIMIT_DATA, before)


@contextlib.contextmanager
def _alarm(seconds: float, handler: Callable[..., None]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler_before = signal.signal(signal.SIGALRM, handler)
    # again each second: an exception that is raised in a destructor is lost
    timer_before = signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler_before)
        signal.setitimer(signal.ITIMER_REAL, *timer_before)


def _lower(limit: tuple[int, int], soft: int) -> tuple[int, int]:
    """The limit with its soft value lowered to `soft`."""
    return (soft if limit[0] == resource.RLIM_INFINITY else min(soft, limit[0])), limit[1]


def _data_bytes() -> int:
    """What counts for RLIMIT_DATA now."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmData:")[2].split()[0]) << 10
