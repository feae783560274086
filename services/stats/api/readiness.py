"""Readiness: the newest day is fresh, and the database has answered lately."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from services.stats.api.cache_refresher import UNAVAILABLE_SECONDS, CacheRefresher
from services.stats.days import ONE_DAY, midnight


@dataclass(frozen=True, slots=True)
class Readiness:
    """The answer of `/readyz`; `reason` says what is missing."""

    database: bool
    newest_day: str | None
    #: Since the newest day ended.
    age_seconds: float | None
    reason: str | None

    @property
    def is_ready(self) -> bool:
        return self.reason is None

    def as_json(self) -> dict[str, Any]:
        return {"status": "ready" if self.is_ready else "not ready", **asdict(self)}


def check(watch: CacheRefresher, zone: ZoneInfo, ready_hours: float) -> Readiness:
    """Check now."""
    reached = watch.silent_seconds <= UNAVAILABLE_SECONDS
    newest = watch.cache.newest if watch.cache else None
    age = None if newest is None else (datetime.now(UTC) - midnight(newest.day + ONE_DAY, zone)).total_seconds()
    reason = None
    if not reached:
        reason = "The database does not answer."
    elif newest is None or age is None:
        reason = "No day has been computed yet."
    elif age > ready_hours * 3600:
        reason = f"The newest day ended {age / 3600:.1f} hours ago; check the scheduler and the worker."
    return Readiness(reached, newest.day.isoformat() if newest else None, age and round(age, 1), reason)
