"""Metrics of the statistics API, added up over its processes."""

import math
import time
from datetime import date, datetime
from functools import cache
from zoneinfo import ZoneInfo

from prometheus_client import Counter, Gauge, Histogram

from services.stats.api.snapshot_cache import SnapshotCache
from services.stats.days import ONE_DAY, midnight
from services.stats.sections.base import Unit
from services.stats.sections.catalogue import find

REQUESTS = Counter("nouba_stats_requests_total", "Requests by route and status.", ["route", "status"])
REQUEST_SECONDS = Histogram(
    "nouba_stats_request_seconds",
    "Time to make an answer.",
    ["route"],
    buckets=(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5),
)
REFRESHES = Counter(
    "nouba_stats_cache_refreshes_total",
    "Loads of newer versions by outcome: same, changed or failed.",
    ["outcome"],
)
_DAYS = Gauge("nouba_stats_cache_days", "Days in a process's memory.", multiprocess_mode="livemin")
_SILENT = Gauge(
    "nouba_stats_cache_age_seconds",
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


# one metric a unit, in the base unit that Prometheus asks for
_COUNT = Gauge(
    "nouba_stats_quantity",
    "A count of the newest complete day, as docs/statistics.md has it; NaN where that day lacks it.",
    ["section", "name"],
    multiprocess_mode="livemostrecent",
)
_AMOUNT = Gauge(
    "nouba_stats_amount_minor_units",
    "An amount of the newest complete day in minor units of the school's currency, as docs/statistics.md has it; NaN "
    "where that day lacks it.",
    ["section", "name"],
    multiprocess_mode="livemostrecent",
)
_RATIO = Gauge(
    "nouba_stats_ratio",
    "A ratio of the newest complete day, as docs/statistics.md has it; NaN where that day lacks it.",
    ["section", "name"],
    multiprocess_mode="livemostrecent",
)
_MEAN = Gauge(
    "nouba_stats_mean",
    "A mean of the newest complete day, as docs/statistics.md has it; NaN where that day lacks it.",
    ["section", "name"],
    multiprocess_mode="livemostrecent",
)
_SECONDS = Gauge(
    "nouba_stats_duration_seconds",
    "A duration of the newest complete day, as docs/statistics.md has it; NaN where that day lacks it.",
    ["section", "name"],
    multiprocess_mode="livemostrecent",
)
_SIZE = Gauge(
    "nouba_stats_size_bytes",
    "A size of the newest complete day, as docs/statistics.md has it; NaN where that day lacks it.",
    ["section", "name"],
    multiprocess_mode="livemostrecent",
)
#: The metric of each unit, and what a value of the statistics is multiplied with.
_NUMBERS: dict[Unit, tuple[Gauge, float]] = {
    Unit.COUNT: (_COUNT, 1),
    Unit.MINOR: (_AMOUNT, 1),
    Unit.BASIS_POINTS: (_RATIO, 1e-4),
    Unit.HUNDREDTHS: (_MEAN, 1e-2),
    Unit.MILLISECONDS: (_SECONDS, 1e-3),
    Unit.MINUTES: (_SECONDS, 60),
    Unit.BYTES: (_SIZE, 1),
}
_published_numbers: set[tuple[str, str]] = set()


def count(route: str, status: int, began: float) -> None:
    """A request was answered; it came at `began`, by time.perf_counter()."""
    requests, seconds = _of(route, status)
    requests.inc()
    seconds.observe(time.perf_counter() - began)


@cache
def _of(route: str, status: int) -> tuple[Counter, Histogram]:
    # finding them by their labels takes longer than counting
    return REQUESTS.labels(route, status), REQUEST_SECONDS.labels(route)


def show(cache: SnapshotCache | None, silent_seconds: float) -> None:
    """What a process knows at this moment."""
    _SILENT.set(-1 if cache is None else silent_seconds)
    _DAYS.set(len(cache.days) if cache else 0)
    newest = cache.newest if cache else None
    if newest is not None:
        ended = ended_at(newest.payload["zone"], newest.day).timestamp()
        computed = newest.computed_at.timestamp()
        _LAST_SUCCESS.set(computed)
        _DAY_END.set(ended)
        _AGE.set(time.time() - ended)
        _DELAY.set(computed - ended)


def show_numbers(cache: SnapshotCache) -> None:
    """The plain numbers of the newest day; breakdowns have keys without end, and are for the API."""
    sections = cache.newest.payload["sections"] if cache.newest else {}
    numbers = {
        (section, name): value
        for section, found in sections.items()
        for name, value in found.get("numbers", {}).items()
        if isinstance(value, int) and (section, name) in _units()
    }
    # processes that share a folder cannot take a label back
    for key in _published_numbers - numbers.keys():
        _NUMBERS[_units()[key]][0].labels(*key).set(math.nan)
    for key, value in numbers.items():
        gauge, factor = _NUMBERS[_units()[key]]
        gauge.labels(*key).set(value * factor)
    _published_numbers.update(numbers)


@cache
def _units() -> dict[tuple[str, str], Unit]:
    return {(section.name, number.name): number.unit for section, number in find("")}


def ended_at(zone: str, day: date) -> datetime:
    """The instant at which `day` ended in `zone`."""
    return midnight(day + ONE_DAY, ZoneInfo(zone))
