"""Long work on many days, a chunk at a time: compute them, or prove that they are right."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Protocol

from services.stats.compute import CHUNK_DAYS, Computation, Outcome, Payload, differences
from services.stats.days import ONE_DAY
from services.stats.definitions import is_observed
from services.stats.errors import Refused

#: Told how many of how many days are done.
Tell = Callable[[int, int], None]


class Shelf(Protocol):
    """The kept days."""

    def reach(self) -> tuple[date, date] | None:
        """The first and the last day that is kept."""

    def payloads(self, first: date, last: date) -> dict[date, Payload]: ...


@dataclass(frozen=True, slots=True)
class Verdict:
    """Which of the days that were compared are not what the facts say."""

    days: int
    missing: list[date] = field(default_factory=list)
    #: By day and number: what is kept, and what the facts say.
    differing: dict[date, dict[str, tuple[Any, Any]]] = field(default_factory=dict)


def backfill(computation: Computation, first: date, last: date, tell: Tell) -> Outcome:
    """Compute all days from `first` to `last`."""
    if last < first:
        raise Refused(f"{last} is before {first}; give the earlier day first.")
    total, done, new_versions = (last - first).days + 1, 0, 0
    failed: dict[date, dict[str, str]] = {}
    tell(0, total)
    for begin, end in _chunks(first, last):
        outcome = computation.compute(begin, end)
        done, new_versions = done + outcome.days, new_versions + outcome.new_versions
        failed |= outcome.failed
        tell(done, total)
    return Outcome(done, new_versions, failed)


def verify(shelf: Shelf, computation: Computation, first: date | None, last: date | None, tell: Tell) -> Verdict:
    """Compare the kept days with a rebuild from the facts; all of them where no limit is given."""
    reach = shelf.reach()
    if reach is None:
        raise Refused("Nothing is kept yet; compute days with: nouba stats backfill FROM TO")
    first, last = first or reach[0], last or reach[1]
    if last < first:
        raise Refused(f"{last} is before {first}; give the earlier day first.")
    verdict = Verdict((last - first).days + 1)
    rebuilt: dict[date, Payload] = {}
    tell(0, verdict.days)
    for begin, end in _chunks(first, last):
        rebuilt = computation.rebuild(begin, end, rebuilt)
        kept = shelf.payloads(begin, end)
        for day, payload in rebuilt.items():
            if day not in kept:
                verdict.missing.append(day)
            elif found := _compare(kept[day], payload):
                verdict.differing[day] = found
        tell((end - first).days + 1, verdict.days)
    return verdict


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
