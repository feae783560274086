"""Which users came in the day, the week and the month: one day by a bit a day, many days by the gaps between visits.

Both find the same. A user's month as one integer is four times as fast for last night, and would have to be looked at
once a day for a year; the gaps have to be sorted, and tell of every day at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from services.stats.activity import TRACES, WITH_ACTIVE, span
from services.stats.days import Days
from services.stats.numbers import Ask, by_bucket, running

#: After how many days it is asked whether new users came back.
AGES = (1, 7, 30)
#: The longest window and age; days before the first one that have a say in it.
_BACK = 30


@dataclass(frozen=True, slots=True)
class Presence:
    """How many different users came, in the windows that end with a day."""

    daily: int
    weekly: int
    monthly: int
    #: `daily` of the 30 days added up.
    user_days: int
    #: Those who came in the day, of the users who had registered so many days before; in the order of AGES.
    retained: tuple[int, ...]


NOBODY = Presence(0, 0, 0, 0, (0,) * len(AGES))


def presence(ask: Ask, days: Days) -> dict[date, Presence]:
    """The presence in each of `days`."""
    return _one(ask, days) if len(days) == 1 else _many(ask, days)


# Bit 30 is the day itself, bit 24 the first day of its week, bit 1 of its month.
_BITS = f"""
WITH visits AS (
    SELECT user_id, bit_or(1::bigint << (width_bucket(at, %(edges)s) - 1)) AS days FROM ({TRACES}) AS trace
    GROUP BY user_id
), newcomers AS (
    SELECT id, 31 - width_bucket(created_at, %(edges)s) AS age FROM users
    WHERE created_at >= %(begins_at)s AND created_at < %(ends_at)s
)
SELECT count(*) FILTER (WHERE days >> 30 = 1) AS daily, count(*) FILTER (WHERE days >> 24 > 0) AS weekly,
       count(*) FILTER (WHERE days >> 1 > 0) AS monthly,
       coalesce(sum(bit_count((days >> 1)::bit(64))), 0)::bigint AS user_days,
       count(*) FILTER (WHERE days >> 30 = 1 AND age = 1) AS retained_1,
       count(*) FILTER (WHERE days >> 30 = 1 AND age = 7) AS retained_7,
       count(*) FILTER (WHERE days >> 30 = 1 AND age = 30) AS retained_30
FROM visits LEFT JOIN newcomers ON newcomers.id = visits.user_id
"""  # noqa: S608


def _one(ask: Ask, days: Days) -> dict[date, Presence]:
    (row,) = ask(_BITS, **span(days.reaching_back(_BACK)))
    retained = tuple(getattr(row, f"retained_{age}") for age in AGES)
    return {days.first: Presence(row.daily, row.weekly, row.monthly, row.user_days, retained)}


# A user counts in a window from the first trace outside of it until the window has passed the last one.
_GAPS = f"""{WITH_ACTIVE}, spaced AS (
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


def _many(ask: Ask, days: Days) -> dict[date, Presence]:
    longer = days.reaching_back(_BACK)
    rows = ask(_GAPS, **span(longer))
    daily = by_bucket(longer, ((row.bucket, row.daily) for row in rows))
    weekly, monthly = (_within(longer, rows, window) for window in (7, 30))
    retained = [by_bucket(longer, ((row.bucket, getattr(row, f"retained_{age}")) for row in rows)) for age in AGES]
    return {
        day: Presence(
            daily[bucket],
            weekly[bucket],
            monthly[bucket],
            sum(daily[bucket - 29 : bucket + 1]),
            tuple(counts[bucket] for counts in retained),
        )
        for bucket, day in enumerate(days, start=_BACK + 1)
    }


def _within(days: Days, rows: Sequence[Any], window: int) -> list[int]:
    """How many different users were there in the `window` days that end with each day."""
    enter = by_bucket(days, ((row.bucket, getattr(row, f"enters_{window}")) for row in rows))
    leave = by_bucket(days, ((row.bucket, getattr(row, f"leaves_{window}")) for row in rows))
    gone = [0] * window + running(leave)
    return [came - left for came, left in zip(running(enter), gone, strict=False)]
