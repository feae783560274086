"""In-memory cache of all snapshots: a request needs no database.

A cache is never changed. When a day gets another version, a new cache takes the old one's place at once, so a reader
sees all of it before or all of it after. A day takes about 3 kB: ten years are some 10 MB.
"""

import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property
from hashlib import md5
from typing import Any

from sqlalchemy import Engine, Row

from services.stats.api.cached_response import CachedResponse
from services.stats.days import ONE_DAY
from services.stats.snapshots.compute import document_of

#: So many documents that were made of the days (series, comparisons, pages) are kept with them.
LARGEST_MADE = 256
#: And so many bytes of them: a year of days is a megabyte, and each pair of dates is another document.
LARGEST_MADE_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True)
class Day:
    """The newest complete version of a day, or the newest one where a section has failed in all of them.

    `body_gzip` is its canonical JSON, whose SHA-256 is `etag`.
    """

    day: date
    version: int
    etag: str
    body_gzip: bytes
    computed_at: datetime
    complete: bool = True
    #: Whether its month is closed: whatever comes later, it stays as it is.
    closed: bool = False

    @cached_property
    def document(self) -> CachedResponse:
        """The day as it is sent."""
        return CachedResponse(self.etag, gzip.decompress(self.body_gzip), self.body_gzip)

    @cached_property
    def payload(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.document.plain)
        return found


@dataclass(frozen=True, slots=True)
class Closing:
    """When a month, given by its first day, was closed, and by whom."""

    month: date
    closed_at: datetime
    closed_by: str


@dataclass(frozen=True, eq=False)
class SnapshotCache:
    """One version of every kept day, as they were at one moment."""

    days: Mapping[date, Day] = field(default_factory=dict)
    _made: dict[object, CachedResponse] = field(default_factory=dict)
    #: The closed months, by their first days.
    closings: Mapping[date, Closing] = field(default_factory=dict)
    #: When the statistics were first computed here; not known where a month is closed.
    begun_at: datetime | None = None

    @cached_property
    def first(self) -> date | None:
        return min(self.days, default=None)

    @cached_property
    def last(self) -> date | None:
        """The last complete day; a day of which a section failed is shown to those who ask for it."""
        complete = (day for day, found in self.days.items() if found.complete)
        return max(complete, default=max(self.days, default=None))

    @property
    def newest(self) -> Day | None:
        return None if self.last is None else self.days[self.last]

    def between(self, first: date, last: date) -> dict[date, Day | None]:
        """Every day from `first` to `last`, in order; None for one that is not kept."""
        number = (last - first).days + 1
        return {day: self.days.get(day) for day in (first + ONE_DAY * step for step in range(number))}

    def make(self, key: object, how: Callable[[], CachedResponse]) -> CachedResponse:
        """A document made of these days, made once; it goes when they do."""
        found = self._made.get(key)
        if found is None:
            # two that make it at once make the same
            found = how()
            held = sum(one.size_bytes for one in list(self._made.values()))
            if len(self._made) >= LARGEST_MADE or held + found.size_bytes > LARGEST_MADE_BYTES:
                self._made.clear()
            self._made[key] = found
        return found

    @cached_property
    def fingerprint(self) -> str:
        """Which versions these are, in the same words as `_FINGERPRINT` below."""
        text = ",".join(
            f"{day}:{self.days[day].version}{':closed' if self.days[day].closed else ''}" for day in sorted(self.days)
        )
        return md5(text.encode(), usedforsecurity=False).hexdigest()


# Where no version of a day is complete, the newest one has at least the sections that did not fail.
_SHOWN = """
SELECT day, facts_version IS NOT NULL AS closed,
       CASE WHEN version IS NOT NULL OR facts_version IS NOT NULL THEN version
            ELSE (SELECT max(version) FROM daily_stats AS kept WHERE kept.day = newest.day) END AS version
FROM daily_stats_newest AS newest
"""

_FINGERPRINT = f"""
SELECT md5(coalesce(string_agg(
    to_char(day, 'YYYY-MM-DD') || ':' || version || CASE WHEN closed THEN ':closed' ELSE '' END, ',' ORDER BY day), ''))
FROM ({_SHOWN}) AS shown WHERE version IS NOT NULL
"""  # noqa: S608

_CLOSINGS = "SELECT month, closed_at, closed_by FROM closed_months"
_BEGUN_AT = "SELECT min(computed_at) FROM daily_stats"

# One statement sees one moment. A version never changes, so only those that are not held are sent.
_DAYS = f"""
SELECT kept.day, kept.version, kept.etag, kept.computed_at, kept.complete, newest.closed,
       CASE WHEN held.day IS NULL THEN kept.body_gzip END AS body_gzip
FROM ({_SHOWN}) AS newest
JOIN daily_stats AS kept ON kept.day = newest.day AND kept.version = newest.version
LEFT JOIN unnest(%(days)s::date[], %(versions)s::int[], %(closed)s::bool[]) AS held (day, version, closed)
       ON held.day = kept.day AND held.version = kept.version AND held.closed = newest.closed
"""  # noqa: S608


def refresh(engine: Engine, cache: SnapshotCache) -> SnapshotCache:
    """The cache as it is now; the same one if nothing changed. `engine` has to commit by itself."""
    with engine.connect() as connection:
        if connection.exec_driver_sql(_FINGERPRINT).scalar_one() == cache.fingerprint:
            return cache
        held = {
            "days": list(cache.days),
            "versions": [day.version for day in cache.days.values()],
            "closed": [day.closed for day in cache.days.values()],
        }
        rows = connection.exec_driver_sql(_DAYS, held).all()
        closings = {row.month: Closing(*row) for row in connection.exec_driver_sql(_CLOSINGS)}
        begun_at = None if closings else connection.exec_driver_sql(_BEGUN_AT).scalar_one()
    days = {row.day: cache.days[row.day] if row.body_gzip is None else _day(row) for row in rows}
    return SnapshotCache(days, closings=closings, begun_at=begun_at)


def _day(row: Row[Any]) -> Day:
    etag, body_gzip = row.etag, bytes(row.body_gzip)
    if row.closed:
        etag, body_gzip = document_of({**json.loads(gzip.decompress(body_gzip)), "closed": True})
    return Day(row.day, row.version, etag, body_gzip, row.computed_at, row.complete, row.closed)
