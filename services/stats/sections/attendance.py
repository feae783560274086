"""Attendance: check-ins, who they were, and how full the sessions were."""

from collections.abc import Collection

import numpy as np

from services.stats.binary_column_reader import Integers
from services.stats.days import Days
from services.stats.sections.active_users import Presence, presence
from services.stats.sections.base import (
    NONE,
    MetricDefinition,
    Query,
    Rules,
    Section,
    Unit,
    Value,
    Values,
    by_bucket,
    largest,
    rounded,
    span,
)
from services.stats.sections.subscriptions import count_terms

NUMBERS = (
    MetricDefinition(
        "check_ins",
        Unit.COUNT,
        "Visits: each user counts once for a session, on the day of the first check-in (checked_in_at).",
        reach_days=30,
    ),
    MetricDefinition("attendees", Unit.COUNT, "Users who checked in in the day.", reach_days=30),
    MetricDefinition("sessions_planned", Unit.COUNT, "Sessions that start (starts_at) in the day."),
    MetricDefinition(
        "sessions_held",
        Unit.COUNT,
        "Sessions that somebody checked in to in the day, and nobody on the day before: one over midnight counts once, "
        "one that nobody came to does not.",
        reach_days=1,
    ),
    MetricDefinition(
        "mean_per_session",
        Unit.HUNDREDTHS,
        "check_ins by sessions_held, in hundredths, rounded; left out without sessions.",
        reach_days=1,
    ),
    MetricDefinition(
        "expected",
        Unit.COUNT,
        "Subscriptions to the chapters of the sessions that start in the day, at its end: for every session those of "
        "its chapter.",
    ),
    MetricDefinition(
        "attendance_rate",
        Unit.BASIS_POINTS,
        "check_ins by expected, rounded: visits of others count, too, so that it may be above 100 %. Left out where "
        "nobody was expected.",
    ),
    MetricDefinition("by_chapter", Unit.COUNT, "check_ins, by the session's chapter.", by="chapter's id", reach_days=1),
)

# those of a day are near each other; -1 is none
_CHAPTERS = """
SELECT id, coalesce(chapter_id, -1) AS chapter_id FROM sessions WHERE id BETWEEN %(first)s AND %(last)s
"""

_PLANNED = """
SELECT width_bucket(starts_at, %(edges)s) AS bucket, chapter_id, count(*) AS sessions FROM sessions
WHERE starts_at >= %(begins_at)s AND starts_at < %(ends_at)s GROUP BY bucket, chapter_id
"""


def compute(ask: Query, days: Days, rules: Rules) -> Values:
    came = ask.once(presence, days)
    rows = ask(_PLANNED, **span(days))
    planned = by_bucket(days, ((row.bucket, row.sessions) for row in rows))
    subscribed = ask.once(count_terms, days, rules.grace_days).stock.by_chapter.running({})
    expected = by_bucket(
        days,
        (
            (row.bucket, row.sessions * subscribed[str(row.chapter_id)][row.bucket])
            for row in rows
            if str(row.chapter_id) in subscribed
        ),
    )
    ids, chapters = _sessions(ask, came.values())
    values: Values = {}
    for bucket, day in enumerate(days, start=1):
        sessions, counts = came[day].sessions, came[day].check_ins
        check_ins, held = int(counts.sum()), came[day].sessions_begun
        numbers: dict[str, Value] = {
            "check_ins": check_ins,
            "attendees": came[day].attendees,
            "sessions_planned": planned[bucket],
            "sessions_held": held,
            "expected": expected[bucket],
            "by_chapter": _by_chapter(chapters[np.searchsorted(ids, sessions)], counts),
        }
        if held:
            numbers["mean_per_session"] = rounded(100 * check_ins, held)
        if expected[bucket]:
            numbers["attendance_rate"] = rounded(10_000 * check_ins, expected[bucket])
        values[day] = numbers
    return values


def _sessions(ask: Query, presences: Collection[Presence]) -> tuple[Integers, Integers]:
    """The sessions that may be among those that were held, in order, and the chapter of each."""
    held = [one.sessions for one in presences if one.sessions.size]
    first = min((int(sessions[0]) for sessions in held), default=0)
    last = max((int(sessions[-1]) for sessions in held), default=-1)
    ids, chapters = ask.columns(_CHAPTERS, ("id", "chapter_id"), first=first, last=last)
    order = np.argsort(ids)
    return ids[order], chapters[order]


def _by_chapter(chapters: Integers, counts: Integers) -> dict[str, int]:
    found, places = np.unique(chapters, return_inverse=True)
    # sums of a day's check-ins, which a double holds exactly
    sums = np.bincount(places, weights=counts, minlength=found.size).astype(np.int64)
    return largest({NONE if chapter < 0 else str(chapter): int(n) for chapter, n in zip(found, sums, strict=True)})


SECTION = Section("attendance", NUMBERS, compute, weight=0, source="attendances, sessions")
