"""Records lesson views: adds reports up in memory and writes them every few seconds.

One row a viewer, lesson and day, whatever number of reports. A crash loses what was not written yet: the last seconds.
While the database is away, reports wait in memory.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from heapq import nsmallest
from typing import Protocol
from zoneinfo import ZoneInfo

from sqlalchemy import Engine

from services.playback.errors import StorageUnavailableError
from services.playback.watch_report_parser import MAX_REPORT_SECONDS, PARTS, Report

FLUSH_EVERY_SECONDS = 3.0
#: Rows of one statement: its locks last milliseconds.
BATCH_SIZE = 500
#: Viewers and lessons that wait in memory; more than watch at once, so that only a long outage fills it.
MAX_WAITING = 200_000
#: A player at double speed plays two seconds a second; a viewer may have two devices.
FASTEST_PLAYBACK = 4.0
MAX_VIEWERS = 100_000


class TooFastError(Exception):
    """The viewer reports more than can have been played since."""

    def __init__(self) -> None:
        super().__init__("More was reported than can have been played in this time.")


@dataclass(frozen=True, slots=True)
class View:
    """What one viewer played of one lesson on one day since the last flush."""

    viewer: str
    course_id: int
    day: date
    played_ms: int
    parts: int


class Views(Protocol):
    """Keeps views of one day. Raises an exception where none of them was kept."""

    def add(self, views: Sequence[View]) -> None: ...


class ViewRecorder:
    """Adds reports up until the next flush."""

    def __init__(self, views: Views, zone: ZoneInfo, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._views, self._zone, self._now = views, zone, now
        self._lock = threading.Lock()
        self._waiting: dict[tuple[str, int, date], Report] = {}
        #: Of each viewer: so many seconds may be reported, as of this moment. The one that reported last stands last.
        self._allowed: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def record(self, viewer: str, course_id: int, report: Report) -> None:
        """Count a report. Raises TooFastError, or StorageUnavailableError where too much waits to be written."""
        now = self._now()
        # PostgreSQL keeps no NUL in a text
        key = (viewer.replace("\x00", ""), course_id, now.astimezone(self._zone).date())
        with self._lock:
            if key not in self._waiting and len(self._waiting) >= MAX_WAITING:
                raise StorageUnavailableError("too many reports wait for the database")
            self._spend(viewer, report.played_ms / 1000, now.timestamp())
            self._waiting[key] = _sum(self._waiting.get(key), report)

    def flush(self) -> bool:
        """Write what waits, and return whether more is left. What cannot be written waits for the next flush."""
        with self._lock:
            # A day goes on from the one before, which has to be written by then. In the order of the key: two processes
            # that write the same rows do not lock each other out.
            first = min((day for _, _, day in self._waiting), default=None)
            keys = nsmallest(BATCH_SIZE, (key for key in self._waiting if key[2] == first))
            batch = {key: self._waiting.pop(key) for key in keys}
        if not batch:
            return False
        try:
            self._views.add([View(*key, report.played_ms, report.parts) for key, report in batch.items()])
        except BaseException:
            with self._lock:
                for key, report in batch.items():
                    self._waiting[key] = _sum(self._waiting.get(key), report)
            raise
        return bool(self._waiting)

    def _spend(self, viewer: str, seconds: float, now: float) -> None:
        allowed, since = self._allowed.pop(viewer, (MAX_REPORT_SECONDS, now))
        allowed = min(allowed + FASTEST_PLAYBACK * max(now - since, 0.0), MAX_REPORT_SECONDS)
        is_too_fast = seconds > allowed
        self._allowed[viewer] = (allowed if is_too_fast else allowed - seconds, now)
        if len(self._allowed) > MAX_VIEWERS:
            self._allowed.popitem(last=False)
        if is_too_fast:
            raise TooFastError


def _sum(one: Report | None, other: Report) -> Report:
    return other if one is None else Report(one.played_ms + other.played_ms, one.parts | other.parts)


# A row's parts are all that the viewer had played of the lesson by then: those of the last earlier day, and the new
# ones. The chapter is filled in by a trigger.
_ADD = """
INSERT INTO lesson_views AS view (viewer, course_id, day, played_ms, parts)
SELECT new.viewer, new.course_id, new.day, least(new.played_ms, 86400000),
       new.parts::bit(100) | coalesce(before.parts, 0::bit(100))
FROM unnest(%(viewers)s::text[], %(courses)s::bigint[], %(days)s::date[], %(played)s::bigint[], %(parts)s::text[])
     AS new (viewer, course_id, day, played_ms, parts)
LEFT JOIN LATERAL (
    SELECT earlier.parts FROM lesson_views AS earlier
    WHERE earlier.viewer = new.viewer AND earlier.course_id = new.course_id AND earlier.day < new.day
    ORDER BY earlier.day DESC LIMIT 1
) AS before ON true
ON CONFLICT (viewer, course_id, day) DO UPDATE
SET played_ms = least(view.played_ms + excluded.played_ms, 86400000), parts = view.parts | excluded.parts,
    last_at = now()
"""


class PostgresViews:
    """Implements `Views` in one statement a batch."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, views: Sequence[View]) -> None:
        values = {
            "viewers": [view.viewer for view in views],
            "courses": [view.course_id for view in views],
            "days": [view.day for view in views],
            "played": [view.played_ms for view in views],
            "parts": [f"{view.parts:0{PARTS}b}" for view in views],
        }
        with self._engine.connect() as connection:
            connection.exec_driver_sql(_ADD, values)
