"""What a rate is of: its numerator and denominator, from the numbers that the days keep."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from services.stats.api.dashboard.i18n import Translations
from services.stats.api.dashboard.statements import value_of
from services.stats.api.snapshot_cache import Day, SnapshotCache
from services.stats.days import ONE_DAY
from services.stats.sections.base import OTHERS, Unit, rounded
from services.stats.sections.mrr import WINDOW_DAYS
from services.stats.sections.payments import COLLECTED

#: A share of fewer than so many, in hundredths of a percent, says how many they are.
_EXACT_BELOW = 10_000


@dataclass(frozen=True, slots=True)
class Parts:
    """A rate's denominator, and its numerator where that is known."""

    whole: int
    part: int | None = None
    unit: Unit = Unit.COUNT
    #: The numerator is a sum over so many days, whose mean counts.
    days: int = 1


_Read = Callable[["_Days"], Parts | None]


@dataclass(frozen=True, slots=True)
class _Days:
    cache: SnapshotCache
    day: date

    def value(self, name: str, days_back: int = 0) -> int | None:
        found: int | None = value_of(self.cache.days.get(self.day - ONE_DAY * days_back), name)
        return found

    def month(self, name: str) -> int | None:
        """The sum of the 30 days that end with the day; None where one of them is not kept."""
        values = [self.value(name, back) for back in range(WINDOW_DAYS)]
        known = [value for value in values if value is not None]
        return sum(known) if len(known) == WINDOW_DAYS else None


def _of_day(part: str, whole: str) -> _Read:
    return lambda days: _both(days.value(part), days.value(whole))


def _of_month(part: str, whole: str) -> _Read:
    return lambda days: _both(days.month(part), days.month(whole))


def _of_mrr(days: _Days) -> Parts | None:
    """Of an amount the rate does not say the numerator to the centime."""
    whole = days.value("subscriptions.mrr", WINDOW_DAYS)
    return Parts(whole, unit=Unit.MINOR) if whole else None


def _stickiness(days: _Days) -> Parts | None:
    active, monthly = days.month("engagement.daily"), days.value("engagement.monthly")
    return None if active is None or not monthly else Parts(monthly, active, days=WINDOW_DAYS)


def _both(part: int | None, whole: int | None) -> Parts | None:
    return None if part is None or not whole else Parts(whole, part)


def _collected(days: _Days) -> Parts | None:
    kept = days.cache.days[days.day].payload["sections"]["payments"]["numbers"].get("started_by_status", {})
    started, pending = days.value("payments.started"), days.value("payments.pending")
    if OTHERS in kept or started is None or pending is None:
        return None
    return _both(sum(kept.get(status, 0) for status in COLLECTED), started - pending)


def _customers_lost(days: _Days) -> Parts | None:
    """Those of 30 days before: their number is kept, and the rate says how many of them are lost."""
    whole, rate = days.value("subscriptions.subscribers", WINDOW_DAYS), days.value("subscriptions.customer_churn_30")
    if not whole or rate is None:
        return None
    return Parts(whole, rounded(rate * whole, 10_000) if whole < _EXACT_BELOW else None)


_RATES: Mapping[str, _Read] = {
    "payments.success_rate": _collected,
    "subscriptions.customer_churn_30": _customers_lost,
    **{f"subscriptions.{name}_30": _of_mrr for name in ("gross_mrr_churn", "net_mrr_churn", "grr", "nrr")},
    "subscriptions.renewal_rate_30": _of_month("subscriptions.renewals", "subscriptions.renewals_due"),
    "lessons.completion": _of_day("lessons.finished", "lessons.watched"),
    "attendance.attendance_rate": _of_day("attendance.check_ins", "attendance.expected"),
    **{
        f"engagement.retention_{age}": _of_day(f"engagement.retained_{age}", f"engagement.cohort_{age}")
        for age in (1, 7, 30)
    },
    "engagement.stickiness": _stickiness,
    "engagement.conversion_30": _of_month("engagement.converted_30", "engagement.cohort_30"),
}


def parts_of(cache: SnapshotCache, day: Day, name: str) -> Parts | None:
    """What the rate `name` of a day is of; None where that is not kept, or is not what the rate was counted from."""
    read = _RATES.get(name)
    found = read(_Days(cache, day.day)) if read else None
    if found is None or found.part is None:
        return found
    return found if rounded(10_000 * found.part, found.days * found.whole) == value_of(day, name) else None


def written_parts(cache: SnapshotCache, day: Day, name: str, words: Translations) -> str:
    """What stands beside a rate: "123 of 150", or "of 150"; empty where that is not known."""
    found = parts_of(cache, day, name)
    if found is None:
        return ""
    whole = words.value(found.whole, found.unit, day.payload["currency"])
    if found.part is None:
        return words.page["of_whole"].format(whole=whole)
    part = words.count(found.part)
    if found.days > 1:
        part = words.directed(words.decimal(Decimal(found.part) / found.days, "#,##0.0"))
    return words.page["part_of_whole"].format(part=part, whole=whole)
