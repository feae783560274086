"""Failpoints: places where a test breaks the process on purpose; inactive unless NOUBA_FAILPOINTS names the place.

    NOUBA_FAILPOINTS="relay.after_publish=kill;settlement.after_credit=raise*2;relay.after_claim=delay:0.5"

`kill` ends the process as `kill -9` would, `raise` raises FailpointError, `delay:seconds` waits.
`*n` means only the first n times in this process.
"""

import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


class FailpointError(Exception):
    """A failure that NOUBA_FAILPOINTS asked for."""


def failpoint(name: str) -> None:
    """Fail here if the environment names this place; otherwise it costs one lookup in an empty dictionary."""
    if action := _armed.get(name):
        action.run(name)


def hits() -> dict[str, int]:
    """How often each armed place has been passed."""
    return dict(_hits)


@contextmanager
def call_at_every_failpoint(run: Callable[[str], None]) -> Iterator[None]:
    """Call `run(name)` at every failpoint of this process within the block; for tests."""
    global _armed
    before, _armed = _armed, _Everywhere(run)
    try:
        yield
    finally:
        _armed = before


@dataclass(frozen=True, slots=True)
class _Everywhere:
    """Stands where the armed actions stand: every name has the same one."""

    run: Callable[[str], None]

    def get(self, name: str) -> "_Everywhere":
        del name
        return self


@dataclass(slots=True)
class _Action:
    kind: str
    seconds: float = 0.0
    left: float = float("inf")

    def run(self, name: str) -> None:
        with _lock:
            _hits[name] += 1
            if self.left <= 0:
                return
            self.left -= 1
        # Said before it happens: a killed process cannot say it afterwards.
        print(f"failpoint {name}: {self.kind}", file=sys.stderr, flush=True)
        if self.kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.kind == "raise":
            raise FailpointError(f"failpoint {name}")
        else:
            time.sleep(self.seconds)


def parse(text: str) -> dict[str, _Action]:
    """The actions that a value of NOUBA_FAILPOINTS describes. Raises ValueError with the right form."""
    armed = {}
    for entry in filter(None, (part.strip() for part in text.split(";"))):
        try:
            name, what = entry.split("=")
            what, star, times = what.partition("*")
            kind, colon, seconds = what.partition(":")
            if kind not in ("kill", "raise", "delay") or bool(colon) != (kind == "delay"):
                raise ValueError
            armed[name] = _Action(kind, float(seconds or 0), float(int(times)) if star else float("inf"))
        except ValueError:
            raise ValueError(
                f"NOUBA_FAILPOINTS: {entry!r} is not place=action; actions are kill, raise, delay:seconds, each with *n"
            ) from None
    return armed


_lock = threading.Lock()
_hits: Counter[str] = Counter()
_armed: dict[str, _Action] | _Everywhere = parse(os.environ.get("NOUBA_FAILPOINTS", ""))
