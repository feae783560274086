"""What a number is: a name, a unit, a written definition, and what else depends on its day."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from itertools import accumulate
from typing import Any, TypeVar

from services.stats.days import Days

T = TypeVar("T")

#: A number, or numbers by a key. There is no float anywhere, so the same facts always give the same bytes.
Value = int | dict[str, int]
Values = dict[date, dict[str, Value]]

#: Numbers that go on adding up: a late fact changes every day after its own.
FOREVER = 100_000  # days; longer than any school has kept any
#: How many keys of an open-ended breakdown are kept by name.
LARGEST = 50
#: The key for the rest of a breakdown, and for rows whose field is empty. A key of the school's cannot begin like this.
OTHERS = "~others"
NONE = "~none"


class Unit(StrEnum):
    """What a number counts; ratios are integers too, in a unit that is small enough."""

    COUNT = "count"
    MINOR = "minor"  # of the currency: centimes
    BASIS_POINTS = "basis_points"  # hundredths of a percent
    HUNDREDTHS = "hundredths"
    MILLISECONDS = "milliseconds"
    MINUTES = "minutes"
    BYTES = "bytes"


@dataclass(frozen=True, slots=True)
class Number:
    """One number of a section; its id is `section.name`."""

    name: str
    unit: Unit
    definition: str
    #: The number is kept by this key, for example `provider`.
    by: str | None = None
    #: For how many days after its own a fact in this number has a say.
    reach_days: int = 0
    #: Its source keeps no history, so it is known only at the day's end, and cannot be rebuilt later.
    observed: bool = False


class Ask:
    """Puts questions to the database, as it was when the computation began."""

    def __init__(
        self,
        run: Callable[[str, Mapping[str, Any]], Sequence[Any]],
        kept: Mapping[date, Mapping[str, Value]] | None = None,
    ) -> None:
        """`run` answers a query; `kept` is what was counted of days before, by day and id."""
        self._run = run
        self._kept = kept or {}
        self._known: dict[object, Any] = {}

    def __call__(self, query: str, /, **values: Any) -> Sequence[Any]:
        return self._run(query, values)

    def kept(self, day: date, name: str) -> int | None:
        """What was counted of an earlier day; None where all of it has to be counted again from the facts."""
        value = self._kept.get(day, {}).get(name)
        return value if isinstance(value, int) else None

    def once(self, find: Callable[["Ask", Days], T], days: Days) -> T:
        """`find(self, days)`, found once for all sections."""
        key = find, days
        if key not in self._known:
            self._known[key] = find(self, days)
        found: T = self._known[key]
        return found


@dataclass(frozen=True, slots=True)
class Section:
    """A group of numbers, and the queries that find them for a run of days."""

    name: str
    numbers: tuple[Number, ...]
    #: (ask, days, currency) -> the numbers of every day
    compute: Callable[[Ask, Days, str], Values]
    #: Lanes are computed at the same time, the sections of one after each other: so those that share what is found
    #: `once` are in the same one.
    lane: int = 0


def rounded(dividend: int, divisor: int) -> int:
    """`dividend / divisor` to the nearest integer, halves up."""
    return (2 * dividend + divisor) // (2 * divisor)


def by_bucket(days: Days, pairs: Iterable[tuple[int, int]]) -> list[int]:
    """The amounts of `pairs` added up by bucket: 0 is before the days, len + 1 after them."""
    found = [0] * (len(days) + 2)
    for bucket, amount in pairs:
        found[bucket] += amount
    return found


def running(buckets: Iterable[int]) -> list[int]:
    """What has added up by the end of every bucket."""
    return list(accumulate(buckets))


def keyed(days: Days, triples: Iterable[tuple[int, str | int | None, int]]) -> dict[str, list[int]]:
    """The amounts of (bucket, key, amount), by key and then by bucket."""
    found: dict[str, list[int]] = {}
    for bucket, key, amount in triples:
        found.setdefault(NONE if key is None else str(key), [0] * (len(days) + 2))[bucket] += amount
    return found


def breakdown(by_key: Mapping[str, Sequence[int]], bucket: int) -> dict[str, int]:
    """The amounts of one bucket by key, without zeros."""
    return largest({key: buckets[bucket] for key, buckets in by_key.items() if buckets[bucket]})


def largest(amounts: Mapping[str, int]) -> dict[str, int]:
    """At most LARGEST keys by name, those of the largest amounts; the rest is added up, so that nothing is lost."""
    if len(amounts) <= LARGEST:
        return dict(amounts)
    ordered = sorted(amounts.items(), key=lambda item: (-item[1], item[0]))
    return {**dict(ordered[:LARGEST]), OTHERS: sum(amount for _, amount in ordered[LARGEST:])}
