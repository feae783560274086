"""Section `engagement`: daily, weekly and monthly active users, stickiness, retention and conversion of new users."""

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
    by_bucket,
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
            MetricDefinition(f"cohort_{age}", Unit.COUNT, f"Users who had registered {age} days before."),
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
        "Registered to paid: converted_30 by cohort_30, rounded; left out where that is 0.",
        reach_days=30,
        source="users, payments",
    ),
)

#: A user has so many days to pay for the first time.
CONVERSION_DAYS = 30

_COHORT = """
SELECT id, width_bucket(created_at, %(edges)s) AS bucket FROM users
WHERE created_at >= %(begins_at)s AND created_at < %(ends_at)s
"""

_CONVERTED = f"""
SELECT bucket, count(*) AS users FROM ({_COHORT}) AS cohort
WHERE EXISTS (
    SELECT FROM payments WHERE user_id = cohort.id AND completed_at < (%(closes)s::timestamptz[])[bucket]
) GROUP BY bucket
"""  # noqa: S608

# the same of many users: all payments once
_MANY_CONVERTED = f"""
SELECT bucket, count(*) AS users FROM ({_COHORT}) AS cohort
JOIN (SELECT user_id, min(completed_at) AS first_at FROM payments GROUP BY user_id) AS paid ON paid.user_id = cohort.id
WHERE first_at < (%(closes)s::timestamptz[])[bucket] GROUP BY bucket
"""  # noqa: S608
#: Of so many days' users it is quicker.
_MANY_DAYS = 60


def compute(ask: Query, days: Days, rules: Rules) -> Values:
    paid = _converted(ask, days)
    values: Values = {}
    for bucket, (day, came) in enumerate(ask.once(presence, days).items(), start=1):
        numbers: dict[str, Value] = {"daily": came.daily, "weekly": came.weekly, "monthly": came.monthly}
        if came.monthly:
            numbers["stickiness"] = rounded(10_000 * came.user_days, 30 * came.monthly)
        for age, cohort, retained in zip(AGES, came.cohorts, came.retained, strict=True):
            numbers[f"cohort_{age}"] = cohort
            numbers[f"retained_{age}"] = retained
            if cohort:
                numbers[f"retention_{age}"] = rounded(10_000 * retained, cohort)
        # the oldest cohort is the one that has had its time
        cohort = came.cohorts[AGES.index(CONVERSION_DAYS)]
        numbers["converted_30"] = paid[bucket]
        if cohort:
            numbers["conversion_30"] = rounded(10_000 * paid[bucket], cohort)
        values[day] = numbers
    return values


def _converted(ask: Query, days: Days) -> list[int]:
    """How many of those who registered so many days before each day had paid by its end."""
    back = ONE_DAY * CONVERSION_DAYS
    cohorts = Days(days.first - back, days.last - back, days.zone)
    query = _CONVERTED if len(days) < _MANY_DAYS else _MANY_CONVERTED
    rows = ask(query, **span(cohorts), closes=days.edges[1:])
    return by_bucket(days, ((row.bucket, row.users) for row in rows))


SECTION = Section("engagement", NUMBERS, compute, weight=4, source="lesson_views, attendances, payments, users")
