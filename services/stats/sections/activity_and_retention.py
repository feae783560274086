"""Section `engagement`: daily, weekly and monthly active users, stickiness, retention and conversion of new users."""

from dataclasses import dataclass

from services.stats.days import ONE_DAY, Days
from services.stats.sections.active_users import ACTIVE, AGES, presence
from services.stats.sections.base import (
    MetricDefinition,
    Query,
    Rules,
    Section,
    Unit,
    Value,
    Values,
    rounded,
    span,
)

NUMBERS = (
    MetricDefinition("daily", Unit.COUNT, f"Users who left a trace in the day: {ACTIVE}.", reach_days=30),
    MetricDefinition("weekly", Unit.COUNT, "Users who left a trace in the 7 days that end with the day.", reach_days=7),
    MetricDefinition(
        "monthly", Unit.COUNT, "Users who left a trace in the 30 days that end with the day.", reach_days=30
    ),
    MetricDefinition(
        "stickiness",
        Unit.BASIS_POINTS,
        "The mean of `daily` over the 30 days that end with the day, by `monthly`, rounded; left out where that is 0.",
        reach_days=30,
    ),
    *(
        number
        for age in AGES
        for number in (
            MetricDefinition(
                f"cohort_{age}", Unit.COUNT, f"Users who had registered {age} day{'s' if age > 1 else ''} before."
            ),
            MetricDefinition(f"retained_{age}", Unit.COUNT, f"Users of cohort_{age} who left a trace in the day."),
            MetricDefinition(
                f"retention_{age}",
                Unit.BASIS_POINTS,
                f"retained_{age} by cohort_{age}, rounded; left out where that is 0.",
            ),
        )
    ),
    MetricDefinition(
        "converted_30",
        Unit.COUNT,
        "Users of cohort_30 who had a payment completed by the day's end, in any currency.",
        reach_days=30,
        source="users, payments",
    ),
    MetricDefinition(
        "conversion_30",
        Unit.BASIS_POINTS,
        "Registered to paid: converted_30 by cohort_30, each added up over the 30 days that end with the day, rounded; "
        "left out where that is 0. So it is of those who registered 30 to 59 days before; what was paid at the office "
        "does not count.",
        reach_days=59,
        source="users, payments",
    ),
)

#: A user has so many days to pay for the first time.
CONVERSION_DAYS = 30
#: Of the registrations of one day a share says little: it is of so many.
WINDOW_DAYS = 30

_COHORT = """
SELECT id, width_bucket(created_at, %(edges)s) AS bucket FROM users
WHERE created_at >= %(begins_at)s AND created_at < %(ends_at)s
"""

_CONVERTED = f"""
SELECT bucket, count(*) AS registered, count(*) FILTER (WHERE has_paid) AS converted FROM (
    SELECT bucket, EXISTS (
        SELECT FROM payments WHERE user_id = cohort.id AND completed_at < (%(closes)s::timestamptz[])[bucket]
    ) AS has_paid FROM ({_COHORT}) AS cohort
) AS found GROUP BY bucket
"""  # noqa: S608

# the same of many users: all payments once
_MANY_CONVERTED = f"""
SELECT bucket, count(*) AS registered,
       count(*) FILTER (WHERE first_at < (%(closes)s::timestamptz[])[bucket]) AS converted
FROM ({_COHORT}) AS cohort
LEFT JOIN (SELECT user_id, min(completed_at) AS first_at FROM payments GROUP BY user_id) AS paid
ON paid.user_id = cohort.id GROUP BY bucket
"""  # noqa: S608
#: Of so many days' users it is quicker.
_MANY_DAYS = 60


def compute(ask: Query, days: Days, rules: Rules) -> Values:
    conversions = _conversions(ask, days)
    values: Values = {}
    for place, (day, came) in enumerate(ask.once(presence, days).items()):
        numbers: dict[str, Value] = {"daily": came.daily, "weekly": came.weekly, "monthly": came.monthly}
        if came.monthly:
            numbers["stickiness"] = rounded(10_000 * came.user_days, 30 * came.monthly)
        for age, cohort, retained in zip(AGES, came.cohorts, came.retained, strict=True):
            numbers[f"cohort_{age}"] = cohort
            numbers[f"retained_{age}"] = retained
            if cohort:
                numbers[f"retention_{age}"] = rounded(10_000 * retained, cohort)
        month = conversions[place : place + WINDOW_DAYS]
        numbers["converted_30"] = month[-1].converted
        if registered := sum(one.registered for one in month):
            numbers["conversion_30"] = rounded(10_000 * sum(one.converted for one in month), registered)
        values[day] = numbers
    return values


@dataclass(frozen=True, slots=True)
class Conversion:
    """How many had registered 30 days before a day, and how many of them had paid by its end."""

    registered: int
    converted: int


def _conversions(ask: Query, days: Days) -> list[Conversion]:
    """Of each of `days`, after those of the rest of the first one's window: from what is kept of these, or counted."""
    longer = days.reaching_back(WINDOW_DAYS - 1)
    before = list(longer)[: WINDOW_DAYS - 1]
    kept = [[ask.kept(day, f"engagement.{name}") for name in ("cohort_30", "converted_30")] for day in before]
    known = [
        Conversion(registered, converted)
        for registered, converted in kept
        if registered is not None and converted is not None
    ]
    return [*known, *_count(ask, days)] if len(known) == len(before) else _count(ask, longer)


def _count(ask: Query, days: Days) -> list[Conversion]:
    back = ONE_DAY * CONVERSION_DAYS
    cohorts = Days(days.first - back, days.last - back, days.zone)
    query = _CONVERTED if len(days) < _MANY_DAYS else _MANY_CONVERTED
    found = {row.bucket: row for row in ask(query, **span(cohorts), closes=days.edges[1:])}
    return [
        Conversion(found[bucket].registered, found[bucket].converted) if bucket in found else Conversion(0, 0)
        for bucket in range(1, len(days) + 1)
    ]


SECTION = Section("engagement", NUMBERS, compute, weight=4, source="lesson_views, attendances, payments, users")
