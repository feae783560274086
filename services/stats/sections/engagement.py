"""Engagement: how many users come, how often, and whether new ones come back."""

from services.stats.days import Days
from services.stats.sections.active_users import ACTIVE, AGES, presence, read_ahead
from services.stats.sections.base import MetricDefinition, Query, Rules, Section, Unit, Value, Values, rounded

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
)


def compute(ask: Query, days: Days, rules: Rules) -> Values:
    # another section has begun at the other end: two connections share the month before
    read_ahead(ask, days)
    values: Values = {}
    for day, came in ask.once(presence, days).items():
        numbers: dict[str, Value] = {"daily": came.daily, "weekly": came.weekly, "monthly": came.monthly}
        if came.monthly:
            numbers["stickiness"] = rounded(10_000 * came.user_days, 30 * came.monthly)
        for age, cohort, retained in zip(AGES, came.cohorts, came.retained, strict=True):
            numbers[f"cohort_{age}"] = cohort
            numbers[f"retained_{age}"] = retained
            if cohort:
                numbers[f"retention_{age}"] = rounded(10_000 * retained, cohort)
        values[day] = numbers
    return values


SECTION = Section("engagement", NUMBERS, compute, weight=2, source="attendances, payments, users")
