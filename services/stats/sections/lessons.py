"""Lessons watched, not given: who watched, for how long, and how far they came."""

from services.stats.days import Days
from services.stats.sections.base import (
    MetricDefinition,
    Query,
    Rules,
    Section,
    Unit,
    Value,
    Values,
    breakdown,
    by_bucket,
    keyed,
    rounded,
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

# lesson 0 is what erasure leaves: that somebody was there
_WATCHED = f"""
SELECT (day - %(first)s::date + 1) AS bucket, course_id, chapter_id, count(*) AS watched,
       sum(played_ms)::bigint AS played_ms, count(*) FILTER (WHERE bit_count(parts) >= {FINISHED_PARTS}) AS finished
FROM lesson_views WHERE day >= %(first)s AND day <= %(last)s AND course_id <> 0
GROUP BY bucket, course_id, chapter_id
"""  # noqa: S608

_VIEWERS = """
SELECT (day - %(first)s::date + 1) AS bucket, count(DISTINCT viewer) AS viewers
FROM lesson_views WHERE day >= %(first)s AND day <= %(last)s AND course_id <> 0 GROUP BY bucket
"""


def compute(ask: Query, days: Days, rules: Rules) -> Values:
    """The numbers above, for every one of `days`."""
    rows = ask(_WATCHED, first=days.first, last=days.last)
    found = ask(_VIEWERS, first=days.first, last=days.last)
    viewers = by_bucket(days, ((row.bucket, row.viewers) for row in found))
    amounts = ("watched", "finished", "played_ms")
    total = {name: by_bucket(days, ((row.bucket, getattr(row, name)) for row in rows)) for name in amounts}
    by_course, by_chapter = (
        {name: keyed(days, ((row.bucket, getattr(row, key), getattr(row, name)) for row in rows)) for name in amounts}
        for key in ("course_id", "chapter_id")
    )
    values: Values = {}
    for bucket, day in enumerate(days, start=1):
        numbers: dict[str, Value] = {
            "watched": total["watched"][bucket],
            "viewers": viewers[bucket],
            "watch_time": total["played_ms"][bucket],
            "finished": total["finished"][bucket],
            "by_course": breakdown(by_course["watched"], bucket),
            "finished_by_course": breakdown(by_course["finished"], bucket),
            "watch_time_by_course": breakdown(by_course["played_ms"], bucket),
            "by_chapter": breakdown(by_chapter["watched"], bucket),
            "finished_by_chapter": breakdown(by_chapter["finished"], bucket),
            "watch_time_by_chapter": breakdown(by_chapter["played_ms"], bucket),
        }
        if total["watched"][bucket]:
            numbers["completion"] = rounded(10_000 * total["finished"][bucket], total["watched"][bucket])
        values[day] = numbers
    return values


SECTION = Section("lessons", NUMBERS, compute, source="lesson_views, which players report (docs/playback.md)")
