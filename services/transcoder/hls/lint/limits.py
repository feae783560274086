"""What the check of a stranger's lesson may take in all: memory, files and time.

Each file is bounded where it is fetched; a server can still send any number of them, and a few bytes of a playlist or a
segment can become a million objects. Memory is counted by estimates of what is kept, not measured.
"""

import contextlib
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass

#: What a line of a playlist and its segment, a sample of a segment and a reference take in memory.
LINE_BYTES = 700
SAMPLE_BYTES = 200
REFERENCE_BYTES = 8
#: Where `str.splitlines` divides a text.
_LINE_ENDS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"


class LimitError(Exception):
    """The lesson takes more than the limits; the message says which option raises them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The options of `nouba transcoder lint`."""

    mib: int = 2048
    files: int = 20_000
    seconds: float = 900.0


class Budget:
    """What is left of the limits; without any, all is allowed."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits
        self._held_bytes = 0
        self._files = 0

    def hold(self, size_bytes: int) -> None:
        """Count memory that is kept until the end. Raises LimitError."""
        self._held_bytes += size_bytes
        if self._limits and self._held_bytes > self._limits.mib << 20:
            raise LimitError(
                f"The lesson takes more than {self._limits.mib} MiB of memory; the rest is not checked. "
                "Raise --max-mib where you trust its server."
            )

    def hold_text(self, text: str) -> None:
        """Count a playlist before it is divided into lines. Raises LimitError."""
        self.hold(4 * len(text) + LINE_BYTES * (1 + sum(text.count(end) for end in _LINE_ENDS)))

    def hold_samples(self, count: int) -> None:
        """Count samples of a segment. Raises LimitError."""
        self.hold(SAMPLE_BYTES * count)

    def count_file(self) -> None:
        """Count a playlist, segment or key before it is fetched. Raises LimitError."""
        self._files += 1
        if self._limits and self._files > self._limits.files:
            raise LimitError(
                f"The lesson has more than {self._limits.files} files; the rest is not checked. "
                "Raise --max-files where you trust its server."
            )


@contextlib.contextmanager
def time_limit(limits: Limits | None) -> Iterator[None]:
    """Raise LimitError in the block once its time is over, whatever it computes or waits for.

    By an alarm, which reaches the main thread alone: in another one there is no limit.
    """
    if limits is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def give_up(*_: object) -> None:
        raise LimitError(
            f"The check took longer than {limits.seconds:.0f} s; the rest is not checked. "
            "Raise --max-seconds where you trust the lesson's server."
        )

    handler = signal.signal(signal.SIGALRM, give_up)
    # again each second: an exception that is raised in a destructor is lost
    timer = signal.setitimer(signal.ITIMER_REAL, limits.seconds, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, *timer)
