"""The base of every section: numbers with name, unit and definition, and the days that depend on them."""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from itertools import accumulate
from typing import Any, TypeVar

import numpy as np

from services.stats.binary_column_reader import ColumnReader, Integers, copy_columns
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
class MetricDefinition:
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
    #: The tables that it is counted from, where they are not those of its section.
    source: str | None = None
    #: What it has to agree with.
    reconciles: str | None = None
    #: Whose published definition it follows.
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """What the school decides about its numbers."""

    #: The currency of its wallets; amounts in another one are counted, never added.
    currency: str
    #: For so long after a term's end a renewal is not a loss.
    grace_days: int = 7


@dataclass(frozen=True, slots=True)
class DayState:
    """What a day leaves to those after it; None where it is not known, or not asked for."""

    #: Who left a trace: a bit for each user's id, from 0 on.
    active_users: bytes | None = None
    #: Who brought MRR at its end, and how much, as `mrr.Subscribers` packs it; and the grace that it was counted with.
    subscribers: bytes | None = None
    grace_days: int = 0

    def differs(self, other: "DayState") -> bool:
        """Whether the two say different things of what both know."""
        pairs = ((self.active_users, other.active_users), (self.subscribers, other.subscribers))
        return any(one is not None and another is not None and one != another for one, another in pairs)


class Query:
    """Puts questions to the database, as it was when the computation began."""

    def __init__(
        self,
        run: Callable[[str, Mapping[str, Any]], Sequence[Any]],
        copy: Callable[[str, Mapping[str, Any], ColumnReader], None],
        kept: Mapping[date, Mapping[str, Value]] | None = None,
        shared: "OncePerRun | None" = None,
        states: "Mapping[date, DayState] | None" = None,
    ) -> None:
        """`run` answers a query with rows, `copy` carries out a COPY to a file; `kept` is what was counted of days
        before, by day and id; `shared` is what is found for all who ask about the same moment; `states` is what the
        days before have left."""
        self._run = run
        self._copy = copy
        self._kept = kept or {}
        self._shared = shared or OncePerRun()
        self.states = states or {}
        #: Of these users alone terms are read; None means all.
        self.users: Sequence[int] | None = None

    def of_users(self, users: Sequence[int]) -> "Query":
        """The same, where terms are read of these users alone."""
        some = Query(self._run, self._copy)
        some.users = users
        return some

    def __call__(self, query: str, /, **values: Any) -> Sequence[Any]:
        return self._run(query, values)

    def columns(self, query: str, names: Sequence[str], /, **values: Any) -> list[Integers]:
        """The columns `names` of a query for very many rows, as `copy_columns` has them; none may be NULL."""
        found: list[list[Integers]] = []
        self._copy(copy_columns(query, names), values, ColumnReader(found.append))
        return found[0]

    def parts(
        self, query: str, names: Sequence[str], part: str, take: Callable[[list[Integers]], None], /, **values: Any
    ) -> None:
        """Give the same to `take` in parts, one for every value of the expression `part`, so that not all has to be in
        memory at once. `take` cannot ask anything meanwhile."""
        self._copy(copy_columns(query, names, part), values, ColumnReader(take))

    def groups(
        self, query: str, names: Sequence[str], labels: Sequence[str], take: Callable[..., None], /, **values: Any
    ) -> None:
        """Give the same to `take` in parts, one for each combination of the texts `labels`, which come first."""
        self._copy(copy_columns(query, names, labels=labels), values, ColumnReader(take, len(labels)))

    def kept(self, day: date, name: str) -> int | None:
        """What was counted of an earlier day; None where all of it has to be counted again from the facts."""
        value = self._kept.get(day, {}).get(name)
        return value if isinstance(value, int) else None

    def kept_keys(self, day: date, name: str) -> dict[str, int] | None:
        """The same of a breakdown; None also where it does not name every key."""
        value = self._kept.get(day, {}).get(name)
        return dict(value) if isinstance(value, dict) and OTHERS not in value else None

    def once(self, find: Callable[..., T], days: Days, *more: Any) -> T:
        """`find(self, days, *more)`, found once for all sections; who asks meanwhile waits for it."""
        return self._shared.once((find, days, *more), lambda: find(self, days, *more))


class OncePerRun:
    """What is found once for all who ask, by the first who asks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: dict[object, Future[Any]] = {}

    def once(self, key: object, find: Callable[[], T]) -> T:
        """What `find` finds for `key`. Raises what it raised, to all who ask for the same."""
        with self._lock:
            is_first = key not in self._found
            future: Future[T] = self._found.setdefault(key, Future())
        if is_first:
            try:
                future.set_result(find())
            except BaseException as error:
                future.set_exception(error)
                raise
        return future.result()

    def found(self, find: Callable[..., T], days: Days, *more: Any) -> T | None:
        """What was found by `find`, as by Query.once; None where nobody asked or it failed."""
        future = self._found.get((find, days, *more))
        return None if future is None or future.exception() else future.result()


@dataclass(frozen=True, slots=True)
class Section:
    """A group of numbers, and the queries that find them for a run of days."""

    name: str
    numbers: tuple[MetricDefinition, ...]
    #: (ask, days, rules) -> the numbers of every day
    compute: Callable[[Query, Days, Rules], Values]
    #: How long it takes, beside the others: the longest are begun first; 0 waits for what others find.
    weight: int = 1
    #: The tables that its numbers are counted from.
    source: str = ""


def span(days: Days) -> dict[str, object]:
    """The values that a query about a run of days asks for."""
    return {"edges": days.edges, "begins_at": days.begins_at, "ends_at": days.ends_at}


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


def distinct(values: Integers) -> Integers:
    """The different values, in order."""
    if not values.size:
        return values
    least, largest = int(values.min()), int(values.max())
    if largest - least < 4 * values.size:
        # no order has to be found where they lie so near
        is_there = np.zeros(largest - least + 1, np.bool_)
        is_there[values - least] = True
        return np.flatnonzero(is_there) + least
    return changes(np.sort(values))


def changes(ordered: Integers) -> Integers:
    """The different values of those that are in order."""
    found: Integers = ordered[np.append(True, ordered[1:] != ordered[:-1])[: ordered.size]]
    return found


def order_by(major: Integers, minor: Integers, number: int) -> Integers:
    """The order of `major`, and where it is the same of `minor`, which is at least 0 and below `number`."""
    if not major.size or max(-int(major.min()), int(major.max())) < 2**62 // number:
        # one number of both is put in order several times as fast
        return np.argsort(major * number + minor)
    return np.lexsort((minor, major))


def ranks(values: Integers) -> Integers:
    """How many different smaller values there are than each."""
    order = np.argsort(values)
    ordered = values[order]
    found = np.empty_like(order)
    found[order] = np.cumsum(np.append(False, ordered[1:] != ordered[:-1])[: ordered.size])
    return found


def split(values: Integers, buckets: Integers, number_of_days: int) -> list[Integers]:
    """The values of each bucket, also of the one before the days and of the one after them."""
    # of small integers the order is found in one pass
    order = np.argsort(buckets.astype(np.int16), kind="stable")
    edges = np.searchsorted(buckets[order], np.arange(1, number_of_days + 2))
    return np.split(values[order], edges)


class KeyedBuckets:
    """Amounts added up by key and bucket, some rows at a time."""

    def __init__(self, number_of_buckets: int) -> None:
        self._number = number_of_buckets
        self._sums: dict[int, Integers] = {}

    def add(self, keys: Integers, buckets: Integers, amounts: Integers) -> None:
        """Add the amounts of these rows."""
        known = distinct(keys)
        sums = np.zeros(known.size * self._number, np.int64)
        np.add.at(sums, np.searchsorted(known, keys) * self._number + buckets, amounts)
        for key, row in zip(known.tolist(), sums.reshape(-1, self._number), strict=True):
            self._sums[key] = self._sums.get(key, 0) + row

    def by_name(self, name: Callable[[int], str]) -> dict[str, list[int]]:
        """What there is by what `name` calls a key, and then by bucket, as `keyed` has it."""
        found: dict[str, Integers] = {}
        for key, row in self._sums.items():
            found[name(key)] = found.get(name(key), 0) + row
        return {key: row.tolist() for key, row in found.items()}


class KeyedSums:
    """Amounts added up by bucket and key, for more rows and keys than `keyed` has time for."""

    def __init__(self, number_of_buckets: int, buckets: Integers, keys: Integers) -> None:
        """The bucket and the key of each row; a key below zero stands for none."""
        self._number = number_of_buckets
        self._keys = distinct(keys)
        self._cells = buckets * self._keys.size + np.searchsorted(self._keys, keys)

    def breakdowns(self, amounts: Integers) -> list[dict[str, int]]:
        """The amounts of the rows, as `breakdown` has them, by bucket."""
        sums = np.zeros(self._number * self._keys.size, np.int64)
        np.add.at(sums, self._cells, amounts)
        return [self._largest(row) for row in sums.reshape(self._number, self._keys.size)]

    def _largest(self, amounts: Integers) -> dict[str, int]:
        places = np.flatnonzero(amounts)
        rest = 0
        if places.size > LARGEST:
            # as many as may be named, and those that are as large as the last of them
            least = np.partition(amounts[places], -LARGEST)[-LARGEST]
            rest = int(amounts[places[amounts[places] < least]].sum())
            places = places[amounts[places] >= least]
        found = zip(self._keys[places].tolist(), amounts[places].tolist(), strict=True)
        by_name = largest({NONE if key < 0 else str(key): amount for key, amount in found})
        return {**by_name, OTHERS: by_name.get(OTHERS, 0) + rest} if rest else by_name
