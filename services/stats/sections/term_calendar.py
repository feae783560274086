"""Calendar arithmetic of subscription terms: what each brings a month (MRR), and the local days of its instants."""

from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import numpy as np

from services.stats.binary_column_reader import EPOCH, Integers
from services.stats.days import midnight
from services.stats.sections.subscription_terms import NEVER, SubscriptionTerms

_FIRST, _LAST = date(1990, 1, 1), date(2100, 1, 1)
_SECOND = 1_000_000
_DAY_SECONDS = 86_400
#: What is no whole number of calendar months is counted in months of 30 days, the period that the gateway sells.
MONTH_SECONDS = 30 * _DAY_SECONDS


def monthly(terms: SubscriptionTerms, zone: ZoneInfo) -> Integers:
    """What each of `terms` brings a month, rounded."""
    seconds = np.maximum((terms.sold_until - terms.begins_at) // _SECOND, _DAY_SECONDS)
    months = _calendar_months(terms.begins_at, terms.sold_until, zone)
    by_days = (2 * MONTH_SECONDS * terms.amounts + seconds) // (2 * seconds)
    by_months = (2 * terms.amounts + months) // np.maximum(2 * months, 1)
    return np.where(terms.sold_until == NEVER, terms.amounts, np.where(months > 0, by_months, by_days))


def local_days(instants: Integers, zone: ZoneInfo) -> Integers:
    """The number of the local day that each instant lies in, counted from the first one of a long calendar."""
    midnights = _midnights(zone.key)
    inside = np.clip(instants, midnights[0], midnights[-1])
    # Days are 24 hours but for some, so the day is near; to search for each takes five times as long.
    days: Integers = np.minimum((inside - midnights[0]) // (_DAY_SECONDS * _SECOND), midnights.size - 1)
    while (is_later := midnights[days] > inside).any():
        days -= is_later
    ends = np.append(midnights[1:], NEVER)
    while (is_over := ends[days] <= inside).any():
        days += is_over
    return days


def day_number(day: date) -> int:
    """The number of a day in the same calendar."""
    return (day - _FIRST).days


def _calendar_months(begins_at: Integers, ends_at: Integers, zone: ZoneInfo) -> Integers:
    """How many whole calendar months lie between the two; 0 where it is no whole number.

    The end is as far into its day as the beginning is into its own, and on the same day of a later month, or on the
    last one of a month that is too short.
    """
    midnights = _midnights(zone.key)
    first, last = local_days(begins_at, zone), local_days(ends_at, zone)
    is_same_time = (begins_at - midnights[first]) == (np.minimum(ends_at, midnights[-1]) - midnights[last])
    months, days, last_days = _months()
    is_same_day = days[last] == np.minimum(days[first], last_days[last])
    return np.where(is_same_time & is_same_day, np.maximum(months[last] - months[first], 0), 0)


@cache
def _months() -> tuple[Integers, Integers, Integers]:
    """Of each day of a long calendar: the number of its month, its place in it, and the place of the month's last day.

    To ask NumPy's calendar for each of some 100,000 terms takes several times as long."""
    days = np.datetime64(_FIRST, "D") + np.arange((_LAST - _FIRST).days)
    months = days.astype("datetime64[M]")
    firsts, following = months.astype("datetime64[D]"), (months + 1).astype("datetime64[D]")
    day, last_day = (days - firsts).astype(np.int64), (following - firsts).astype(np.int64) - 1
    return months.astype(np.int64), day, last_day


@cache
def _midnights(zone: str) -> Integers:
    """When each day of a long calendar begins."""
    number = (_LAST - _FIRST).days
    found = [midnight(_FIRST + timedelta(days=day), ZoneInfo(zone)) for day in range(number)]
    return np.array([_microseconds(instant) for instant in found])


def _microseconds(instant: datetime) -> int:
    return (instant.astimezone(UTC) - EPOCH) // timedelta(microseconds=1)
