"""Ranges of days in the school's time zone, and the times at which they begin and end."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

#: No school of ours is older; an earlier instant is a mistake in an import.
FIRST_DAY = date(2000, 1, 1)
ONE_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Days:
    """All days from `first` to `last`, both included. A day is [midnight, midnight), so it has 23 to 25 hours."""

    first: date
    last: date
    zone: ZoneInfo

    def __iter__(self) -> Iterator[date]:
        return (self.first + ONE_DAY * number for number in range(len(self)))

    def __len__(self) -> int:
        return (self.last - self.first).days + 1

    @property
    def begins_at(self) -> datetime:
        return midnight(self.first, self.zone)

    @property
    def ends_at(self) -> datetime:
        return midnight(self.last + ONE_DAY, self.zone)

    @property
    def edges(self) -> list[datetime]:
        """The midnights between which the days lie, one more than there are days.

        PostgreSQL's width_bucket(instant, edges) is then the number of the instant's day, counted from 1;
        0 is everything before and len + 1 everything after.
        """
        return list(_edges(self))

    def parts(self, length: int) -> "Iterator[Days]":
        """These days in order, at most so many at a time."""
        for number in range(0, len(self), length):
            first = self.first + ONE_DAY * number
            yield Days(first, min(self.last, first + ONE_DAY * (length - 1)), self.zone)

    def reaching_back(self, number: int) -> "Days":
        """These days and `number` days before them."""
        return Days(self.first - ONE_DAY * number, self.last, self.zone)


@lru_cache(maxsize=256)
def _edges(days: Days) -> tuple[datetime, ...]:
    return tuple(midnight(days.first + ONE_DAY * number, days.zone) for number in range(len(days) + 1))


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """The instant at which `day` begins in `zone`. A midnight that a clock change leaves out is the change itself."""
    return datetime.combine(day, time.min, tzinfo=zone).astimezone(UTC)


def day_of(instant: datetime, zone: ZoneInfo) -> date:
    """The day of `zone` that `instant` lies in."""
    return instant.astimezone(zone).date()


def yesterday(now: datetime, zone: ZoneInfo) -> date:
    """The last day that is over."""
    return day_of(now, zone) - ONE_DAY


def last_of_month(day: date) -> date:
    """The last day of the month of `day`."""
    return (day.replace(day=28) + ONE_DAY * 4).replace(day=1) - ONE_DAY
