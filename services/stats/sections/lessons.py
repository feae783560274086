"""Section `lessons`: which lessons were watched in the day: viewers, watch time, and how many finished."""

import numpy as np

from services.stats.binary_column_reader import Integers
from services.stats.days import Days
from services.stats.sections.base import (
    KeyedSums,
    MetricDefinition,
    Query,
    Rules,
    Section,
    Unit,
    Value,
    Values,
    distinct,
    rounded,
    split,
)

#: A lesson is cut into a hundred parts; who has played so many of them has finished it.
FINISHED_PARTS = 90

NUMBERS = (
    MetricDefinition(
        "watched",
        Unit.COUNT,
        "Lessons watched: each viewer counts once for a lesson that they played in the day.",
        reconciles="the sum of `by_course` and of `by_chapter`",
    ),
    MetricDefinition(
        "viewers",
        Unit.COUNT,
        "Viewers who played a lesson in the day, each once.",
        reference="https://www.mux.com/docs/guides/data-engagement-metric",
    ),
    MetricDefinition(
        "watch_time",
        Unit.MILLISECONDS,
        "How much of the lessons was played in the day: as long as it lasts at normal speed, what was played twice "
        "twice.",
    ),
    MetricDefinition(
        "finished",
        Unit.COUNT,
        f"Of `watched`, those of which the viewer has played {FINISHED_PARTS} of 100 parts by the day's end, on this "
        "day and before. A part counts once its middle was played.",
    ),
    MetricDefinition(
        "completion",
        Unit.BASIS_POINTS,
        "`finished` by `watched`, rounded; left out where nothing was watched.",
        reference="https://flowplayer.com/resources/guides/analytics/analytics-reference",
    ),
    MetricDefinition("by_course", Unit.COUNT, "`watched`, by lesson.", by="course's id"),
    MetricDefinition("finished_by_course", Unit.COUNT, "`finished`, by lesson.", by="course's id"),
    MetricDefinition("watch_time_by_course", Unit.MILLISECONDS, "`watch_time`, by lesson.", by="course's id"),
    MetricDefinition(
        "by_chapter",
        Unit.COUNT,
        "`watched`, by the chapter that the lesson had when it was first watched in the day.",
        by="chapter's id",
    ),
    MetricDefinition("finished_by_chapter", Unit.COUNT, "`finished`, by the same chapter.", by="chapter's id"),
    MetricDefinition(
        "watch_time_by_chapter", Unit.MILLISECONDS, "`watch_time`, by the same chapter.", by="chapter's id"
    ),
)

#: A day plays no more of a lesson than this, as a constraint of the table says.
_LONGEST = 2**27

# Lesson 0 is what erasure leaves: that somebody was there. -1 is no chapter, and 0 no user. The day, whether the lesson
# is finished, and the time are one number, which is a third less to write and to send.
_VIEWS = f"""
SELECT ((day - %(first)s::date) * 2 + (bit_count(parts) >= {FINISHED_PARTS})::integer) * {_LONGEST}::bigint + played_ms
           AS played,
       course_id, coalesce(chapter_id, -1) AS chapter_id, coalesce(user_id, 0) AS user_id
FROM lesson_views WHERE day >= %(first)s AND day <= %(last)s AND course_id <> 0
"""  # noqa: S608
_COLUMNS = ("played", "course_id", "chapter_id", "user_id")

# whom the school did not name by a user's id
_OTHER_VIEWERS = """
SELECT day - %(first)s::date AS bucket, count(DISTINCT viewer) AS viewers FROM lesson_views
WHERE day >= %(first)s AND day <= %(last)s AND course_id <> 0 AND user_id IS NULL GROUP BY bucket
"""

#: So many days are read at once, which is what memory has room for.
_PART_DAYS = 31


def compute(ask: Query, days: Days, rules: Rules) -> Values:
    """The numbers above, for every one of `days`."""
    values: Values = {}
    for part in days.parts(_PART_DAYS):
        values |= _compute(ask, part)
    return values


def _compute(ask: Query, days: Days) -> Values:
    period = {"first": days.first, "last": days.last}
    played, courses, chapters, users = ask.columns(_VIEWS, _COLUMNS, **period)
    rest, played_ms = np.divmod(played, _LONGEST)
    buckets, finished = np.divmod(rest, 2)
    viewers = [int(np.count_nonzero(distinct(came))) for came in split(users, buckets + 1, len(days))[1:-1]]
    if not users.all():
        for row in ask(_OTHER_VIEWERS, **period):
            viewers[row.bucket] += row.viewers
    amounts = {"watched": np.ones_like(buckets), "finished": finished, "watch_time": played_ms}
    total = {name: _by_bucket(days, buckets, amount) for name, amount in amounts.items()}
    by_course, by_chapter = (KeyedSums(len(days), buckets, keys) for keys in (courses, chapters))
    found = {"by_course": by_course.breakdowns(amounts["watched"])}
    found |= {"by_chapter": by_chapter.breakdowns(amounts["watched"])}
    for name in ("finished", "watch_time"):
        found |= {f"{name}_by_course": by_course.breakdowns(amounts[name])}
        found |= {f"{name}_by_chapter": by_chapter.breakdowns(amounts[name])}
    values: Values = {}
    for bucket, day in enumerate(days):
        numbers: dict[str, Value] = {name: int(sums[bucket]) for name, sums in total.items()}
        numbers |= {"viewers": viewers[bucket], **{name: rows[bucket] for name, rows in found.items()}}
        if watched := int(total["watched"][bucket]):
            numbers["completion"] = rounded(10_000 * int(total["finished"][bucket]), watched)
        values[day] = numbers
    return values


def _by_bucket(days: Days, buckets: Integers, amounts: Integers | int = 1) -> Integers:
    sums = np.zeros(len(days), np.int64)
    np.add.at(sums, buckets, amounts)
    return sums


SECTION = Section("lessons", NUMBERS, compute, source="lesson_views, which players report (docs/playback.md)")
