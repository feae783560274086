"""What the read API tells Prometheus; the processes of one API share a directory and add up."""

import math
import time
from datetime import date, datetime
from functools import cache
from zoneinfo import ZoneInfo

from prometheus_client import Counter, Gauge, Histogram

from services.stats.api.cache import SnapshotCache
from services.stats.days import ONE_DAY, midnight

REQUESTS = Counter("nouba_stats_requests_total", "Requests by route and status.", ["route", "status"])
REQUEST_SECONDS = Histogram(
    "nouba_stats_request_seconds",
    "Time to make an answer.",
    ["route"],
    buckets=(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5),
)
REFRESHES = Counter(
    "nouba_stats_cache_refreshes_total",
    "Looks for newer versions by what they found: same, changed or failed.",
    ["outcome"],
)
_DAYS = Gauge("nouba_stats_cache_days", "Days in a process's memory.", multiprocess_mode="livemin")
_SILENT = Gauge(
    "nouba_stats_cache_silent_seconds",
    "Time since the database last said which versions are the newest; -1 where it never did.",
    multiprocess_mode="livemax",
)
_LAST_SUCCESS = Gauge(
    "nouba_stats_last_success_timestamp_seconds",
    "When the newest day was computed.",
    multiprocess_mode="livemax",
)
_DAY_END = Gauge(
    "nouba_stats_newest_day_end_timestamp_seconds", "When the newest day ended.", multiprocess_mode="livemax"
)
_AGE = Gauge("nouba_stats_age_seconds", "Time since the newest day ended.", multiprocess_mode="livemax")
_DELAY = Gauge(
    "nouba_stats_delay_seconds",
    "Time from the end of the newest day until its newest version was kept.",
    multiprocess_mode="livemax",
)


_NUMBER = Gauge(
    "nouba_stats_number",
    "A number of the newest complete day, in the unit that docs/statistics.md says: amounts in minor units, times in "
    "milliseconds, ratios in basis points. NaN where that day does not have it.",
    ["section", "name"],
    multiprocess_mode="livemostrecent",
)
_numbers_told: set[tuple[str, str]] = set()


def count(route: str, status: int, began: float) -> None:
    """A request was answered; it came at `began`, by time.perf_counter()."""
    requests, seconds = _of(route, status)
    requests.inc()
    seconds.observe(time.perf_counter() - began)


@cache
def _of(route: str, status: int) -> tuple[Counter, Histogram]:
    # to look them up by their labels takes longer than to count
    return REQUESTS.labels(route, status), REQUEST_SECONDS.labels(route)


def show(shelf: SnapshotCache | None, silent_seconds: float) -> None:
    """What a process knows at this moment."""
    _SILENT.set(-1 if shelf is None else silent_seconds)
    _DAYS.set(len(shelf.days) if shelf else 0)
    newest = shelf.newest if shelf else None
    if newest is not None:
        ended = ended_at(newest.payload["zone"], newest.day).timestamp()
        computed = newest.computed_at.timestamp()
        _LAST_SUCCESS.set(computed)
        _DAY_END.set(ended)
        _AGE.set(time.time() - ended)
        _DELAY.set(computed - ended)


def show_numbers(shelf: SnapshotCache) -> None:
    """The plain numbers of the newest day; breakdowns have keys without end, and are for the API."""
    sections = shelf.newest.payload["sections"] if shelf.newest else {}
    numbers = {
        (section, name): value
        for section, found in sections.items()
        for name, value in found.get("numbers", {}).items()
        if isinstance(value, int)
    }
    # processes that share a folder cannot take a label back
    for section, name in _numbers_told - numbers.keys():
        _NUMBER.labels(section, name).set(math.nan)
    for (section, name), value in numbers.items():
        _NUMBER.labels(section, name).set(value)
    _numbers_told.update(numbers)


def ended_at(zone: str, day: date) -> datetime:
    """The instant at which `day` ended in `zone`."""
    return midnight(day + ONE_DAY, ZoneInfo(zone))
