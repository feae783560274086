"""Attendance: check-ins, who they were, and how full the sessions were."""

from collections import Counter

from services.stats.activity import span
from services.stats.days import Days
from services.stats.numbers import NONE, Ask, Number, Section, Unit, Value, Values, by_bucket, largest, rounded
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

_CHAPTERS = "SELECT id, chapter_id FROM sessions WHERE id = ANY (%(ids)s::bigint[])"

_PLANNED = """
SELECT width_bucket(starts_at, %(edges)s) AS bucket, count(*) AS sessions FROM sessions
WHERE starts_at >= %(begins_at)s AND starts_at < %(ends_at)s GROUP BY bucket
"""


def compute(ask: Ask, days: Days, currency: str) -> Values:
    came = ask.once(presence, days)
    planned = by_bucket(days, ((row.bucket, row.sessions) for row in ask(_PLANNED, **span(days))))
    # as one text: the elements of a list would be parsed one by one
    held = ",".join({str(session) for day in days for session in came[day].check_ins})
    chapter_of = {row.id: row.chapter_id for row in ask(_CHAPTERS, ids=f"{{{held}}}")}
    values: Values = {}
    for bucket, day in enumerate(days, start=1):
        sessions = came[day].check_ins
        check_ins = sum(sessions.values())
        chapters: Counter[str] = Counter()
        for session, number in sessions.items():
            chapter_id = chapter_of[session]
            chapters[NONE if chapter_id is None else str(chapter_id)] += number
        numbers: dict[str, Value] = {
            "check_ins": check_ins,
            "attendees": came[day].attendees,
            "sessions_planned": planned[bucket],
            "sessions_held": len(sessions),
            "by_chapter": largest(chapters),
        }
        if sessions:
            numbers["mean_per_session"] = rounded(100 * check_ins, len(sessions))
        values[day] = numbers
    return values


SECTION = Section("attendance", NUMBERS, compute)
