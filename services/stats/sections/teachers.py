"""Section `teachers`: how many teachers there are, and how many of them taught."""

from services.stats.days import Days
from services.stats.sections.base import (
    FOREVER,
    MetricDefinition,
    Query,
    Rules,
    Section,
    Unit,
    Values,
    breakdown,
    by_bucket,
    keyed,
    running,
    span,
)

NUMBERS = (
    MetricDefinition("total", Unit.COUNT, "Teachers registered (created_at) before the day's end.", reach_days=FOREVER),
    MetricDefinition("new", Unit.COUNT, "Teachers registered in the day."),
    MetricDefinition("active", Unit.COUNT, "Teachers with a session that starts in the day."),
    MetricDefinition(
        "own",
        Unit.COUNT,
        "Teachers of `active` with a session of a chapter that was theirs when it started; the others stood in.",
        source="sessions, chapters, chapter_teachers",
    ),
    MetricDefinition(
        "regular",
        Unit.COUNT,
        "Teachers with a session in each of the last four weeks: the 28 days that end with the day, by sevens.",
        reach_days=27,
        source="sessions",
    ),
    MetricDefinition(
        "by_specialisation", Unit.COUNT, "Teachers registered before the day's end.", by="specialisation", observed=True
    ),
)

_TEACHERS = """
SELECT bucket, specialisation, grouping(specialisation) AS kind, count(*) AS teachers
FROM (SELECT width_bucket(created_at, %(edges)s) AS bucket, specialisation FROM teachers) AS found
GROUP BY GROUPING SETS ((bucket), (bucket, specialisation))
"""

_TAUGHT = """
SELECT bucket, count(DISTINCT teacher_id) AS teachers
FROM (SELECT width_bucket(starts_at, %(edges)s) AS bucket, teacher_id FROM sessions
      WHERE starts_at >= %(begins_at)s AND starts_at < %(ends_at)s) AS found
GROUP BY bucket
"""


_OWN = """
SELECT bucket, count(DISTINCT held.teacher_id) AS teachers
FROM (SELECT width_bucket(starts_at, %(edges)s) AS bucket, teacher_id, chapter_id, starts_at FROM sessions
      WHERE starts_at >= %(begins_at)s AND starts_at < %(ends_at)s AND teacher_id IS NOT NULL) AS held
LEFT JOIN chapters AS chapter ON chapter.id = held.chapter_id
LEFT JOIN (
    SELECT chapter_id, teacher_id, since,
           coalesce(lead(since) OVER (PARTITION BY chapter_id ORDER BY since), 'infinity') AS until
    FROM chapter_teachers
) AS taught ON taught.chapter_id = held.chapter_id AND held.starts_at >= taught.since AND held.starts_at < taught.until
WHERE held.teacher_id = CASE WHEN taught.chapter_id IS NULL THEN chapter.teacher_id ELSE taught.teacher_id END
GROUP BY bucket
"""

_TEACHING_DAYS = """
SELECT DISTINCT width_bucket(starts_at, %(edges)s) AS bucket, teacher_id FROM sessions
WHERE starts_at >= %(begins_at)s AND starts_at < %(ends_at)s AND teacher_id IS NOT NULL
"""
#: Weeks in which a regular teacher has taught.
_WEEKS = 4


def _regular(ask: Query, days: Days) -> list[int]:
    """The teachers with a session in each of the weeks that end with each day."""
    longer = days.reaching_back(7 * _WEEKS - 1)
    taught: dict[int, set[int]] = {}
    for row in ask(_TEACHING_DAYS, **span(longer)):
        taught.setdefault(row.bucket, set()).add(row.teacher_id)
    found = []
    for last in range(7 * _WEEKS, len(longer) + 1):
        weeks = [set().union(*(taught.get(last - 7 * week - day, set()) for day in range(7))) for week in range(_WEEKS)]
        found.append(len(set.intersection(*weeks)))
    return found


def compute(ask: Query, days: Days, rules: Rules) -> Values:
    rows = ask(_TEACHERS, edges=days.edges)
    new = by_bucket(days, ((row.bucket, row.teachers) for row in rows if row.kind == 1))
    total = running(new)
    found = keyed(days, ((row.bucket, row.specialisation, row.teachers) for row in rows if row.kind == 0))
    specialisations = {key: running(counts) for key, counts in found.items()}
    own = by_bucket(days, ((row.bucket, row.teachers) for row in ask(_OWN, **span(days))))
    regular = _regular(ask, days)
    active = by_bucket(days, ((row.bucket, row.teachers) for row in ask(_TAUGHT, **span(days))))
    return {
        day: {
            "total": total[bucket],
            "new": new[bucket],
            "active": active[bucket],
            "own": own[bucket],
            "regular": regular[bucket - 1],
            "by_specialisation": breakdown(specialisations, bucket),
        }
        for bucket, day in enumerate(days, start=1)
    }


SECTION = Section("teachers", NUMBERS, compute, source="teachers, sessions")
