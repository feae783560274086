"""What the oracle's parts share: a day of a school, and how things are counted and rounded there."""

import math
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import date, datetime
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

Row = dict[str, Any]
School = dict[str, list[Row]]


class Moment:
    """One day of one school."""

    def __init__(self, school: School, day: date, zone: ZoneInfo, currency: str) -> None:
        self.school, self.day, self.zone, self.currency = school, day, zone, currency

    def local(self, instant: datetime) -> date:
        return instant.astimezone(self.zone).date()

    def within(self, instant: datetime | None, day: date | None = None) -> bool:
        return instant is not None and self.local(instant) == (day or self.day)

    def by_end(self, instant: datetime | None) -> bool:
        return instant is not None and self.local(instant) <= self.day

    def rows(self, table: str, column: str, test: Callable[[datetime | None], bool] | None = None) -> list[Row]:
        return [row for row in self.school[table] if (test or self.within)(row[column])]


def half_up(ratio: Fraction) -> int:
    return math.floor(ratio + Fraction(1, 2))


def ratio(dividend: int, divisor: int, scale: int = 1) -> int | None:
    return half_up(Fraction(dividend * scale, divisor)) if divisor else None


def count(values: Iterable[Any]) -> dict[str, int]:
    return dict(Counter("~none" if value is None else str(value) for value in values))


def add_up(pairs: Iterable[tuple[Any, int]]) -> dict[str, int]:
    found: Counter[str] = Counter()
    for key, amount in pairs:
        found["~none" if key is None else str(key)] += amount
    return {key: amount for key, amount in found.items() if amount}
