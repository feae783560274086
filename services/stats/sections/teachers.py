"""Teachers: how many, and who taught."""

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


def compute(ask: Query, days: Days, rules: Rules) -> Values:
    rows = ask(_TEACHERS, edges=days.edges)
    new = by_bucket(days, ((row.bucket, row.teachers) for row in rows if row.kind == 1))
    total = running(new)
    found = keyed(days, ((row.bucket, row.specialisation, row.teachers) for row in rows if row.kind == 0))
    specialisations = {key: running(counts) for key, counts in found.items()}
    active = by_bucket(days, ((row.bucket, row.teachers) for row in ask(_TAUGHT, **span(days))))
    return {
        day: {
            "total": total[bucket],
            "new": new[bucket],
            "active": active[bucket],
            "by_specialisation": breakdown(specialisations, bucket),
        }
        for bucket, day in enumerate(days, start=1)
    }


SECTION = Section("teachers", NUMBERS, compute, source="teachers, sessions")
