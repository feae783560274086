"""When what is struck and how, chosen by the seed; and the thread of each target that strikes it and brings it back."""

import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.chaos.targets import Command, Target, freeze

KILL, PAUSE, RESTART = "kill", "pause", "restart"
#: Killed, and away for long.
OUTAGE = "outage"
MIN_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 0.5, 4.0
#: What has only just come back is left alone for a moment, so that a blow finds something at work.
_RESPITE_SECONDS = 1.5
_POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True, order=True)
class Blow:
    """Seconds after the beginning, what is done, and for how long it is away."""

    at: float
    kind: str
    seconds: float


@dataclass(slots=True)
class Struck:
    """What happened to one target. `fell` counts the ends that nobody asked for, by exit status."""

    blows: Counter[str] = field(default_factory=Counter)
    fell: Counter[int] = field(default_factory=Counter)


def blows(seed: int, name: str, seconds: float, counts: dict[str, int]) -> list[Blow]:
    """The blows that `name` takes within `seconds`: evenly spread, at instants of their own."""
    dice = random.Random(f"storm {seed} {name}")
    kinds = [kind for kind, count in counts.items() for _ in range(count)]
    dice.shuffle(kinds)
    return [
        Blow(
            (place + dice.random()) / len(kinds) * seconds,
            kind,
            dice.uniform(MIN_PAUSE_SECONDS, MAX_PAUSE_SECONDS) if kind == PAUSE else dice.uniform(0, 0.5),
        )
        for place, kind in enumerate(kinds)
    ]


class Storm:
    """Strikes all targets, and starts again whatever ends, as a supervisor does."""

    def __init__(self, targets: Sequence[Target], schedule: dict[str, list[Blow]], stopping: threading.Event) -> None:
        self._targets = targets
        self._schedule = schedule
        self._stopping = stopping
        self._over = threading.Event()
        self.struck = {target.name: Struck() for target in targets}
        self.total = sum(len(found) for found in schedule.values())
        self._left = len(targets)
        #: When somebody last came back.
        self.back_at = time.monotonic()
        self._lock = threading.Lock()

    @property
    def done(self) -> int:
        """How many blows have fallen."""
        return sum(struck.blows.total() for struck in self.struck.values())

    @property
    def is_over(self) -> bool:
        """Whether the last blow has fallen on everybody; the processes are still watched."""
        return self._left == 0

    def watch(self, target: Target) -> None:
        """Strike `target` by its schedule, then only keep it up, until `end` or the stop."""
        began, struck = time.monotonic(), self.struck[target.name]
        for blow in self._schedule[target.name]:
            while time.monotonic() < began + blow.at and self._keep_up(target, struck):
                self._stopping.wait(min(_POLL_SECONDS, max(0.0, began + blow.at - time.monotonic())))
            if not self._keep_up(target, struck):
                return
            self._strike(target, blow)
            struck.blows[blow.kind] += 1
            self._stopping.wait(_RESPITE_SECONDS)
        with self._lock:
            self._left -= 1
        while self._keep_up(target, struck) and not self._over.is_set():
            self._stopping.wait(_POLL_SECONDS)

    def end(self) -> None:
        """Nobody need be watched any longer."""
        self._over.set()

    def _keep_up(self, target: Target, struck: Struck) -> bool:
        if not target.alive and not self._stopping.is_set():
            if isinstance(target, Command):
                struck.fell[target.status or 0] += 1
            self._stopping.wait(0.5)
            target.start()
        return not self._stopping.is_set()

    def _strike(self, target: Target, blow: Blow) -> None:
        if blow.kind == PAUSE:
            freeze(target, blow.seconds, self._stopping)
            return
        target.stop() if blow.kind == RESTART else target.kill()
        self._stopping.wait(blow.seconds)
        if not self._stopping.is_set():
            target.start()
            self.back_at = time.monotonic()
