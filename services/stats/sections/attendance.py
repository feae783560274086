"""Attendance: check-ins, who they were, and how full the sessions were."""

from services.stats.activity import span
from services.stats.days import Days
from services.stats.numbers import Ask, Number, Section, Unit, Value, Values, breakdown, by_bucket, keyed, rounded
from services.stats.sections.presence import presence

NUMBERS = (
    Number("check_ins", Unit.COUNT, "Check-ins (checked_in_at) in the day.", reach_days=30),
    Number("attendees", Unit.COUNT, "Users who checked in in the day.", reach_days=30),
    Number("sessions_planned", Unit.COUNT, "Sessions that start (starts_at) in the day."),
    Number("sessions_held", Unit.COUNT, "Sessions that somebody checked in to in the day."),
    Number(
        "mean_per_session",
        Unit.HUNDREDTHS,
        "check_ins by sessions_held, in hundredths, rounded; left out without sessions.",
    ),
    Number("by_chapter", Unit.COUNT, "Check-ins of the day, by the session's chapter.", by="chapter's id"),
)

_BY_SESSION = """
SELECT bucket, session.chapter_id, sum(check_ins)::bigint AS check_ins, count(*) AS sessions FROM (
    SELECT width_bucket(checked_in_at, %(edges)s) AS bucket, session_id, count(*) AS check_ins FROM attendances
    WHERE checked_in_at >= %(begins_at)s AND checked_in_at < %(ends_at)s
    GROUP BY bucket, session_id
) AS found JOIN sessions AS session ON session.id = found.session_id
GROUP BY bucket, session.chapter_id
"""

_PLANNED = """
SELECT width_bucket(starts_at, %(edges)s) AS bucket, count(*) AS sessions FROM sessions
WHERE starts_at >= %(begins_at)s AND starts_at < %(ends_at)s GROUP BY bucket
"""


def compute(ask: Ask, days: Days, currency: str) -> Values:
    came = ask.once(presence, days)
    planned = by_bucket(days, ((row.bucket, row.sessions) for row in ask(_PLANNED, **span(days))))
    rows = ask(_BY_SESSION, **span(days))
    check_ins = by_bucket(days, ((row.bucket, row.check_ins) for row in rows))
    held = by_bucket(days, ((row.bucket, row.sessions) for row in rows))
    chapters = keyed(days, ((row.bucket, row.chapter_id, row.check_ins) for row in rows))
    values: Values = {}
    for bucket, day in enumerate(days, start=1):
        numbers: dict[str, Value] = {
            "check_ins": check_ins[bucket],
            "attendees": came[day].attendees,
            "sessions_planned": planned[bucket],
            "sessions_held": held[bucket],
            "by_chapter": breakdown(chapters, bucket),
        }
        if held[bucket]:
            numbers["mean_per_session"] = rounded(100 * check_ins[bucket], held[bucket])
        values[day] = numbers
    return values


SECTION = Section("attendance", NUMBERS, compute)
