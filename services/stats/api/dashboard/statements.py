"""Statements of the dashboard: how a balance gets from its opening to its closing, and what the school owes."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

from services.stats.api.dashboard.i18n import Translations
from services.stats.api.rollup import begin_of
from services.stats.api.snapshot_cache import Day, SnapshotCache
from services.stats.days import ONE_DAY
from services.stats.rows.read_page import has_rows
from services.stats.sections.base import Unit
from services.stats.sections.catalogue import find_one

#: The balances of a section, and what adds to each (1) or is taken off it (-1) in a day.
_BRIDGES = {
    "subscriptions.mrr": {
        "subscriptions.mrr_new": 1,
        "subscriptions.mrr_expansion": 1,
        "subscriptions.mrr_reactivation": 1,
        "subscriptions.mrr_contraction": -1,
        "subscriptions.mrr_churn": -1,
    },
    "subscriptions.subscribers": {"subscriptions.subscribers_gained": 1, "subscriptions.subscribers_lost": -1},
}

#: What the school owes at a day's end. Open disputes are no part: their money has left the wallets and the school.
_OWED = ("wallets.credit", "revenue.deferred")


@dataclass(frozen=True, slots=True)
class Cell:
    """One value, and the day and number of the rows that add up to it; no number where there are none."""

    value: str
    day: date
    number: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One line, with a cell for each column; `is_total` of the first and the last one."""

    name: str
    cells: tuple[Cell, ...]
    is_total: bool = False


@dataclass(frozen=True, slots=True)
class Statement:
    """A table that adds up from top to bottom."""

    id: str
    name: str
    columns: tuple[str, ...]
    lines: tuple[Line, ...]


def bridges(cache: SnapshotCache, day: Day, section: str, words: Translations) -> Iterator[Statement]:
    """The bridges of a section: of the day, and of its month so far where every day of it is kept."""
    for balance, moves in _BRIDGES.items():
        if not balance.startswith(f"{section}."):
            continue
        first = begin_of(day.day, "month")
        found = [
            one
            for begin in dict.fromkeys((day.day, first))
            if (one := _Bridge.read(cache, begin, day.day, balance, moves))
        ]
        if found:
            yield _statement(found, balance, day, words)


@dataclass(frozen=True, slots=True)
class _Bridge:
    """A balance before the days from `first` to `last`, its signed moves in them, and the balance at their end."""

    first: date
    last: date
    opening: int
    moves: dict[str, int]
    closing: int

    @property
    def other(self) -> int:
        """What no move explains: facts that came late for days before, which were closed or are not computed anew."""
        return self.closing - self.opening - sum(self.moves.values())

    @classmethod
    def read(
        cls, cache: SnapshotCache, first: date, last: date, balance: str, moves: dict[str, int]
    ) -> "_Bridge | None":
        """None where a day or a number of it is not kept."""
        opening, closing = (value_of(cache.days.get(day), balance) for day in (first - ONE_DAY, last))
        days = cache.between(first, last).values()
        sums: dict[str, int] = {}
        for name, sign in moves.items():
            known = [value for day in days if (value := value_of(day, name)) is not None]
            if len(known) < len(days):
                return None
            sums[name] = sign * sum(known)
        return None if opening is None or closing is None else cls(first, last, opening, sums, closing)


def _statement(found: list[_Bridge], balance: str, day: Day, words: Translations) -> Statement:
    currency = day.payload["currency"]
    defined = find_one(balance)
    assert defined, balance
    section, number = defined

    def total(label: str, name: str, cells: Iterator[tuple[int, date]]) -> Line:
        written = (Cell(words.value(value, number.unit, currency), of, name) for value, of in cells)
        return Line(words.page[label], tuple(written), is_total=True)

    lines = [total("opening", balance, ((one.opening, one.first - ONE_DAY) for one in found))]
    for name in found[0].moves:
        cells = tuple(
            Cell(
                signed(one.moves[name], number.unit, currency, words),
                one.last,
                name if has_rows(name) and one.first == one.last else "",
            )
            for one in found
        )
        lines.append(Line(words.number(*name.split(".")), cells))
    if any(one.other for one in found):
        others = (Cell(signed(one.other, number.unit, currency, words), one.last) for one in found)
        lines.append(Line(words.page["other_moves"], tuple(others)))
    lines.append(total("closing", balance, ((one.closing, one.last) for one in found)))
    columns = tuple(
        words.day(one.last, "long")
        if one.first == one.last
        else words.page["month_to_date"].format(first=words.day(one.first, "medium"))
        for one in found
    )
    name = words.page["bridge"].format(name=words.number(section.name, number.name))
    return Statement(balance, name, columns, tuple(lines))


def owed(day: Day, words: Translations) -> Statement | None:
    """What the school owes at the day's end, and the sum; None where a part of it is not kept."""
    amounts = {name: amount for name in _OWED if (amount := value_of(day, name)) is not None}
    if len(amounts) < len(_OWED):
        return None
    currency = day.payload["currency"]
    lines = [
        Line(words.number(*name.split(".")), (Cell(words.value(amount, Unit.MINOR, currency), day.day, name),))
        for name, amount in amounts.items()
    ]
    total = Cell(words.value(sum(amounts.values()), Unit.MINOR, currency), day.day)
    lines.append(Line(words.page["sum"], (total,), is_total=True))
    return Statement("owed", words.page["owed"], (words.day(day.day, "long"),), tuple(lines))


def signed(value: int, unit: Unit, currency: str, words: Translations) -> str:
    """A value with its sign, a plus too; none of it is written with a hyphen."""
    written = words.value(-abs(value), unit, currency)
    return written.replace("-", "+" if value > 0 else "−", 1)


def value_of(day: Day | None, name: str) -> Any:
    """A number of a day by its id, an integer or those of its keys; None where the day does not have it."""
    if day is None:
        return None
    section, _, number = name.partition(".")
    return day.payload["sections"].get(section, {}).get("numbers", {}).get(number)
