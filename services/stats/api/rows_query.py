"""What rows are asked for: of which number and key, on one day or on each day of a range, and from where on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from urllib.parse import urlencode

from services.stats.api.rollup import add_up
from services.stats.api.snapshot_cache import Day
from services.stats.rows.read_days import DayToRead
from services.stats.rows.read_page import are_balances, may_cancel_out
from services.stats.sections.base import OTHERS, MetricDefinition, Section
from services.stats.sections.catalogue import Over, find_one, over
from services.stats.snapshots.compute import CORRECTIONS, value_of


@dataclass(frozen=True, slots=True)
class RowsQuery:
    """The rows of a number, or of one of its keys, after the row `after` of the day `after_day`.

    The rows of a range are those of its first day, then those of the next one, up to the last.
    """

    #: All of the range, in order; mostly one.
    days: Sequence[Day]
    number: str
    key: str | None
    after: int
    after_day: date
    #: `id` or `largest`; None is `largest` where it is quick.
    order: str | None = None

    @property
    def day(self) -> Day:
        """The last day."""
        return self.days[-1]

    @property
    def is_range(self) -> bool:
        return len(self.days) > 1

    @property
    def begins(self) -> bool:
        """Whether this is the first page."""
        return not self.after and self.after_day == self.days[0].day

    @property
    def definition(self) -> tuple[Section, MetricDefinition] | None:
        """The number, or the one whose corrections they are; None where there is none of that name."""
        return find_one(self.number.removeprefix(CORRECTIONS))

    @property
    def adds_up(self) -> bool:
        """Whether the number of several days is the sum of theirs."""
        return self.number.startswith(CORRECTIONS) or over(self.number) is Over.SUM

    @property
    def figure(self) -> Any:
        """What the days say, by key where it is a breakdown; None where a day does not have the number."""
        values = [value_of(day.payload, self.number) for day in self.days]
        if self.number.startswith(CORRECTIONS) and self.is_range:
            # most days have none
            values = [value for value in values if value is not None]
        if any(isinstance(value, dict) for value in values):
            return add_up(values)
        return sum(values) if values and None not in values else None

    @property
    def value(self) -> int | None:
        """The same of the key, or of all keys; None where no day says how much the key is."""
        found = self.figure
        if not isinstance(found, dict):
            return found if found is None else int(found)
        if self.key is None:
            return sum(found.values())
        return found.get(self.key, None if OTHERS in found else 0)

    @property
    def largest_first(self) -> bool | None:
        return {"largest": True, "id": False}.get(self.order or "") if are_balances(self.number) else False

    def to_read(self) -> list[DayToRead]:
        """The days whose rows are asked for, with the keys that all days name."""
        figure = self.figure
        named = tuple(figure) if isinstance(figure, dict) else ()
        rest = [day for day in self.days if day.day >= self.after_day]
        skips = self.is_range and not may_cancel_out(self.number)
        return [DayToRead(day.day, named, is_empty=skips and self._is_zero(day, named)) for day in rest]

    def _is_zero(self, day: Day, named: Sequence[str]) -> bool:
        value = value_of(day.payload, self.number)
        if not isinstance(value, dict):
            return bool(value == 0)
        if self.key is None:
            return not any(value.values())
        if self.key == OTHERS:
            return not any(amount for key, amount in value.items() if key == OTHERS or key not in named)
        return OTHERS not in value and not value.get(self.key)

    def link(self, **more: Any) -> str:
        """The parameters of an address of the same rows, without the last day."""
        given: Mapping[str, Any] = {"from": self.days[0].day} if self.is_range else {}
        given = {**given, "number": self.number} | ({} if self.key is None else {"key": self.key}) | more
        return urlencode({name: value for name, value in given.items() if value is not None})

    def place(self) -> dict[str, Any]:
        """The parameters of where this page begins."""
        found: dict[str, Any] = {} if not self.after else {"after": self.after}
        found |= {"order": self.order} if self.order else {}
        return found | ({"after_day": self.after_day} if self.after_day != self.days[0].day else {})
