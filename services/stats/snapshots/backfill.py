"""Computes the days of a range, or verifies kept days against a rebuild, one chunk at a time."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Protocol

from services.stats.days import ONE_DAY
from services.stats.errors import RefusedDayError
from services.stats.sections.catalogue import is_observed
from services.stats.snapshots.compute import CHUNK_DAYS, Computation, Outcome, Payload, differences

#: Is called with how many of how many days are done.
ShowProgress = Callable[[int, int], None]

#: What happened is announced within this, unless RabbitMQ or a worker is away.
ANNOUNCED_WITHIN_SECONDS = 10


class SnapshotSource(Protocol):
    """The stored days."""

    def reach(self) -> tuple[date, date] | None:
        """The first and the last day that is kept."""

    def payloads(self, first: date, last: date) -> dict[date, Payload]: ...

    def versions(self, first: date, last: date) -> dict[date, int]:
        """Which versions the payloads are; without days of which a section failed when they were computed last."""

    def changed_from(self) -> date | None:
        """The first kept day whose facts are known to have changed."""


@dataclass(frozen=True, slots=True)
class VerificationReport:
    """Which of the days that were compared are not what the facts say."""

    days: int
    missing: list[date] = field(default_factory=list)
    #: By day and number: what is kept, and what the facts say.
    differing: dict[date, dict[str, tuple[Any, Any]]] = field(default_factory=dict)
    #: Not compared: a change is known and not yet computed, or became known while they were compared.
    due: list[date] = field(default_factory=list)
    #: Not compared: a section could not be read.
    failed: list[date] = field(default_factory=list)
    #: The version of each day when the comparison began.
    versions: dict[date, int] = field(default_factory=dict)

    def compared(self) -> dict[date, int]:
        """The days whose comparison means something, and the version that was compared."""
        left_out = {*self.missing, *self.due, *self.failed}
        return {day: version for day, version in self.versions.items() if day not in left_out}


def backfill(computation: Computation, first: date, last: date, show_progress: ShowProgress) -> Outcome:
    """Compute all days from `first` to `last`."""
    if last < first:
        raise RefusedDayError(f"{last} is before {first}; give the earlier day first.")
    total, done, new_versions = (last - first).days + 1, 0, 0
    failed: dict[date, dict[str, str]] = {}
    show_progress(0, total)
    for begin, end in _chunks(first, last):
        outcome = computation.compute(begin, end)
        done, new_versions = done + outcome.days, new_versions + outcome.new_versions
        failed |= outcome.failed
        show_progress(done, total)
    return Outcome(done, new_versions, failed)


def verify(
    snapshots: SnapshotSource,
    computation: Computation,
    first: date | None,
    last: date | None,
    show_progress: ShowProgress,
    wait: Callable[[], None] = lambda: None,
) -> VerificationReport:
    """Compare the kept days with a rebuild from the facts; all of them where no limit is given.

    Anyone who changes a fact says so by a message that comes a moment later: where days differ, `wait` lets that moment
    pass, and those that turn out to be due did not differ.
    """
    reach = snapshots.reach()
    if reach is None:
        raise RefusedDayError("Nothing is kept yet; compute days with: nouba stats compute FROM TO")
    first, last = first or reach[0], last or reach[1]
    if last < first:
        raise RefusedDayError(f"{last} is before {first}; give the earlier day first.")
    verdict = VerificationReport((last - first).days + 1)
    rebuilt: dict[date, Payload] = {}
    show_progress(0, verdict.days)
    for begin, end in _chunks(first, last):
        verdict.versions.update(snapshots.versions(begin, end))
        rebuilt = computation.rebuild(begin, end, rebuilt)
        kept = snapshots.payloads(begin, end)
        for day, payload in rebuilt.items():
            if day not in kept:
                verdict.missing.append(day)
            elif not payload["complete"]:
                verdict.failed.append(day)
            elif found := _compare(kept[day], payload):
                verdict.differing[day] = found
        show_progress((end - first).days + 1, verdict.days)
    if verdict.differing:
        wait()
        _leave_out_due(verdict, snapshots, first, last)
    return verdict


def _leave_out_due(verdict: VerificationReport, snapshots: SnapshotSource, first: date, last: date) -> None:
    """A day differs only where the very version that was compared is still believed to be right."""
    # what changed on one day may have a say in every later one
    changed_from = snapshots.changed_from() or date.max
    versions = snapshots.versions(first, last)
    for day in list(verdict.differing):
        version = verdict.versions.get(day)
        if version is None or version != versions.get(day) or day >= changed_from:
            del verdict.differing[day]
            verdict.due.append(day)


def _compare(kept: Payload, rebuilt: Payload) -> dict[str, tuple[Any, Any]]:
    found = {
        name: (kept[name], rebuilt[name])
        for name in ("zone", "currency", "definitions", "complete")
        if kept[name] != rebuilt[name]
    }
    numbers = differences(kept, rebuilt)
    return found | {name: pair for name, pair in numbers.items() if not is_observed(name)}


def _chunks(first: date, last: date) -> Iterator[tuple[date, date]]:
    while first <= last:
        end = min(last, first + ONE_DAY * (CHUNK_DAYS - 1))
        yield first, end
        first = end + ONE_DAY
