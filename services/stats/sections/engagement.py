"""Engagement: how many users come, how often, and whether new ones come back."""

from collections.abc import Sequence
from typing import Any

from services.stats.activity import ACTIVE, WITH_ACTIVE, span
from services.stats.days import Days
from services.stats.numbers import Ask, Number, Section, Unit, Value, Values, by_bucket, rounded, running

_AGES = (1, 7, 30)

NUMBERS = (
    Number("daily", Unit.COUNT, f"Users who left a trace in the day: {ACTIVE}.", reach_days=30),
    Number("weekly", Unit.COUNT, "Users who left a trace in the 7 days that end with the day."),
    Number("monthly", Unit.COUNT, "Users who left a trace in the 30 days that end with the day."),
    Number(
        "stickiness",
        Unit.BASIS_POINTS,
        "The mean of `daily` over the 30 days that end with the day, by `monthly`, rounded; left out where that is 0.",
    ),
    *(
        number
        for age in _AGES
        for number in (
            Number(f"cohort_{age}", Unit.COUNT, f"Users who had registered {age} days before."),
            Number(f"retained_{age}", Unit.COUNT, f"Users of cohort_{age} who left a trace in the day."),
            Number(
                f"retention_{age}",
                Unit.BASIS_POINTS,
                f"retained_{age} by cohort_{age}, rounded; left out where that is 0.",
            ),
        )
    ),
)

# A user counts in a window from the first trace outside of it until the window has passed the last one.
_ACTIVITY = f"""{WITH_ACTIVE}, spaced AS (
    SELECT bucket, user_id, bucket - lag(bucket) OVER traces AS since, lead(bucket) OVER traces - bucket AS until
    FROM active WINDOW traces AS (PARTITION BY user_id ORDER BY bucket)
)
SELECT bucket, count(*) AS daily,
       count(*) FILTER (WHERE since IS NULL OR since >= 7) AS enters_7,
       count(*) FILTER (WHERE until IS NULL OR until >= 7) AS leaves_7,
       count(*) FILTER (WHERE since IS NULL OR since >= 30) AS enters_30,
       count(*) FILTER (WHERE until IS NULL OR until >= 30) AS leaves_30,
       count(*) FILTER (WHERE bucket - registered = 1) AS retained_1,
       count(*) FILTER (WHERE bucket - registered = 7) AS retained_7,
       count(*) FILTER (WHERE bucket - registered = 30) AS retained_30
FROM spaced LEFT JOIN (
    SELECT id, width_bucket(created_at, %(edges)s) AS registered FROM users
    WHERE created_at >= %(begins_at)s AND created_at < %(ends_at)s
) AS newcomer ON newcomer.id = spaced.user_id
GROUP BY bucket
"""  # noqa: S608

_REGISTERED = """
SELECT width_bucket(created_at, %(edges)s) AS bucket, count(*) AS users FROM users
WHERE created_at >= %(begins_at)s AND created_at < %(ends_at)s GROUP BY bucket
"""


def compute(ask: Ask, days: Days, currency: str) -> Values:
    longer = days.reaching_back(30)
    rows = ask(_ACTIVITY, **span(longer))
    daily = by_bucket(longer, ((row.bucket, row.daily) for row in rows))
    weekly, monthly = (_within(longer, rows, window) for window in (7, 30))
    registered = by_bucket(longer, ((row.bucket, row.users) for row in ask(_REGISTERED, **span(longer))))
    retained = {
        age: by_bucket(longer, ((row.bucket, getattr(row, f"retained_{age}")) for row in rows)) for age in _AGES
    }
    values: Values = {}
    for bucket, day in enumerate(longer, start=1):
        if day < days.first:
            continue
        numbers: dict[str, Value] = {
            "daily": daily[bucket],
            "weekly": weekly[bucket],
            "monthly": monthly[bucket],
        }
        if monthly[bucket]:
            numbers["stickiness"] = rounded(10_000 * sum(daily[bucket - 29 : bucket + 1]), 30 * monthly[bucket])
        for age in _AGES:
            numbers[f"cohort_{age}"] = cohort = registered[bucket - age]
            numbers[f"retained_{age}"] = came = retained[age][bucket]
            if cohort:
                numbers[f"retention_{age}"] = rounded(10_000 * came, cohort)
        values[day] = numbers
    return values


def _within(days: Days, rows: Sequence[Any], window: int) -> list[int]:
    """How many different users were active in the `window` days that end with each day."""
    enter = by_bucket(days, ((row.bucket, getattr(row, f"enters_{window}")) for row in rows))
    leave = by_bucket(days, ((row.bucket, getattr(row, f"leaves_{window}")) for row in rows))
    inside = running(enter)
    gone = [0] * window + running(leave)
    return [came - left for came, left in zip(inside, gone, strict=False)]


SECTION = Section("engagement", NUMBERS, compute)
