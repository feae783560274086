"""Facts that change, or are asked for by others, right before or after they are read."""

from collections.abc import Callable, Mapping
from datetime import date

from services.stats.days import Days
from services.stats.sections.base import DayState, Value
from services.stats.snapshots.compute import Reading, SnapshotReader


def _nothing() -> None:
    """Nothing happens."""


class Interrupted:
    """Implements `Facts`."""

    def __init__(
        self, facts: SnapshotReader, *, before: Callable[[], None] = _nothing, after: Callable[[], None] = _nothing
    ) -> None:
        self._facts, self._before, self._after = facts, before, after

    def read(self, days: Days, kept: Mapping[date, Mapping[str, Value]], states: Mapping[date, DayState]) -> Reading:
        self._before()
        reading = self._facts.read(days, kept, states)
        self._after()
        return reading
