"""A day beside the day, the week and the month before it."""

import calendar
from datetime import date, timedelta
from typing import Any

from services.stats.api.snapshot_cache import Day, SnapshotCache
from services.stats.sections.base import rounded
from services.stats.snapshots.compute import Payload, flatten


def compared(cache: SnapshotCache, day: Day) -> Payload:
    """The day's document with one key more, `comparison`: three earlier days, null for one that is not kept."""
    return {
        **day.payload,
        "comparison": {name: _beside(day, cache.days.get(then)) for name, then in before(day.day).items()},
    }


def before(day: date) -> dict[str, date]:
    """The three days that `day` is compared with. A month before the 31st is the last day of a shorter month."""
    year, month = (day.year, day.month - 1) if day.month > 1 else (day.year - 1, 12)
    return {
        "day_before": day - timedelta(days=1),
        "week_before": day - timedelta(days=7),
        "month_before": date(year, month, min(day.day, calendar.monthrange(year, month)[1])),
    }


def _beside(day: Day, then: Day | None) -> dict[str, Any] | None:
    if then is None:
        return None
    earlier = numbers(then)
    found = {}
    for name, now in numbers(day).items():
        if name in earlier:
            found[name] = {"then": earlier[name], "change": now - earlier[name]}
            if earlier[name] > 0:
                found[name]["change_basis_points"] = rounded(10_000 * (now - earlier[name]), earlier[name])
    return {"day": then.day.isoformat(), "etag": then.etag, "numbers": found}


def numbers(day: Day) -> dict[str, int]:
    """The numbers of a day by id, such as `revenue.net`, without those that are kept by a key."""
    return {name: value for name, value in flatten(day.payload).items() if isinstance(value, int)}
