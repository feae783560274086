"""Monthly recurring revenue: what the subscriptions that run bring a month, and the five ways in which it moves.

A subscription's amount is spread over its months, in whole minor units that add up to it exactly: every month gets
the amount divided by the months, and the first ones get one unit more until the remainder is used up.
"""

from typing import Any

from services.stats.activity import span
from services.stats.days import ONE_DAY, Days
from services.stats.numbers import FOREVER, Ask, Number, Unit, Value, Values, rounded

#: What churn is measured over.
_WINDOW_DAYS = 30

NUMBERS = (
    Number(
        "mrr",
        Unit.MINOR,
        "Monthly recurring revenue at the day's end. A term has as many months as pieces of 31 days fit into it, "
        "rounded up where more than an hour is left over (an hour is where summer time ends, as from 1 October to "
        "1 November), and is cut into as many equal parts; its amount is spread over them in whole units, the first "
        "parts get the remainder. MRR is the sum of the parts in which the day's last moment lies. A subscription "
        "without an end counts with its amount.",
        reach_days=FOREVER,
    ),
    Number("mrr_new", Unit.MINOR, "MRR won in the day from users whose first paid term began in it.", reach_days=30),
    Number("mrr_expansion", Unit.MINOR, "MRR won in the day from users who had some at its start.", reach_days=30),
    Number(
        "mrr_reactivation",
        Unit.MINOR,
        "MRR won in the day from users who had none at its start, but a paid term that began earlier.",
        reach_days=30,
    ),
    Number("mrr_contraction", Unit.MINOR, "MRR lost in the day from users who kept some.", reach_days=30),
    Number("mrr_churn", Unit.MINOR, "MRR lost in the day from users who have none at its end.", reach_days=30),
    Number("subscribers", Unit.COUNT, "Users who bring MRR at the day's end.", reach_days=FOREVER),
    Number("subscribers_lost", Unit.COUNT, "Users who brought MRR at the day's start and none at its end."),
    Number(
        "churn_rate_30",
        Unit.BASIS_POINTS,
        "mrr_churn of the last 30 days by the MRR before them, rounded; left out where that was 0.",
        reach_days=30,
    ),
)


class _Nothing:
    """A day on which nobody's MRR moved."""

    step = gained = regained = expanded = contracted = lost = subscribers = subscribers_lost = 0


_NOTHING: Any = _Nothing()

# Every term moves its user's MRR two or three times: up when it begins, down by one unit when the parts that have one
# more are over, down when it ends. Part p of `months` begins at p * length / months, rounded up to a microsecond, which
# is p * (length / months) + (p * (length % months) + months - 1) / months without large products. A length in
# microseconds fits into a double exactly, which is several times as fast as the numeric of extract(). What lies before
# the days is added up by user: of everybody, or of those who move where it is known what all bring together. OFFSET 0
# keeps the planner from working out a length once for each of its uses.
_MOVEMENTS = """
WITH terms AS MATERIALIZED (
    SELECT user_id, activated_at, ends_at, amount_minor / months AS least, amount_minor %% months AS parts,
           activated_at + ((amount_minor %% months) * (length / months)
                           + ((amount_minor %% months) * (length %% months) + months - 1) / months)
           * interval '1 microsecond' AS lessens_at
    FROM (
        SELECT *, greatest(1, (length - 3600000000 + 2678400000000 - 1) / 2678400000000) AS months
        FROM (
            SELECT user_id, activated_at, ends_at, amount_minor,
                   round(date_part('epoch', ends_at - activated_at) * 1000000)::bigint AS length
            FROM subscriptions
            WHERE status <> 'pending_payment' AND amount_minor > 0 AND activated_at < %(ends_at)s
              AND (ends_at IS NULL OR (ends_at >= %(begins_at)s AND ends_at > activated_at))
            OFFSET 0
        ) AS found OFFSET 0
    ) AS cut
), steps AS MATERIALIZED (
    SELECT user_id, width_bucket(at, %(edges)s) AS bucket, sum(step)::bigint AS step
    FROM (
        SELECT user_id, activated_at AS at, least + CASE WHEN parts > 0 THEN 1 ELSE 0 END AS step FROM terms
        UNION ALL
        SELECT user_id, ends_at, -least FROM terms
        UNION ALL
        SELECT user_id, lessens_at, -1 FROM terms WHERE parts > 0
    ) AS moved
    WHERE at >= %(begins_at)s AND at < %(ends_at)s
    GROUP BY user_id, bucket
), before AS MATERIALIZED (
    SELECT user_id, sum(least + CASE WHEN parts > 0 AND lessens_at >= %(begins_at)s THEN 1 ELSE 0 END)::bigint AS level
    FROM terms WHERE activated_at < %(begins_at)s AND (%(everybody)s OR user_id IN (SELECT user_id FROM steps))
    GROUP BY user_id
), levels AS (
    SELECT user_id, bucket, step, (coalesce(before.level, 0) + sum(step) OVER steps)::bigint AS after,
           before.user_id IS NOT NULL OR row_number() OVER steps > 1 AS known
    FROM steps LEFT JOIN before USING (user_id) WINDOW steps AS (PARTITION BY user_id ORDER BY bucket)
), moves AS (
    SELECT bucket, after - step AS before, after,
           CASE WHEN after = step AND after > 0 AND (known OR EXISTS (
               SELECT FROM subscriptions AS earlier
               WHERE earlier.user_id = levels.user_id AND earlier.status <> 'pending_payment'
                 AND earlier.amount_minor > 0 AND earlier.activated_at < (%(edges)s)[bucket]
                 AND (earlier.ends_at IS NULL OR earlier.ends_at > earlier.activated_at)
           )) THEN after ELSE 0 END AS regained
    FROM levels WHERE step <> 0
)
SELECT 0 AS bucket, coalesce(sum(level), 0)::bigint AS step, 0 AS regained, 0 AS gained, 0 AS expanded, 0 AS contracted,
       0 AS lost, count(*) FILTER (WHERE level > 0) AS subscribers, 0 AS subscribers_lost
FROM before
UNION ALL
SELECT bucket, sum(after - before)::bigint, sum(regained)::bigint,
       coalesce(sum(after) FILTER (WHERE before = 0), 0)::bigint,
       coalesce(sum(after - before) FILTER (WHERE before > 0 AND after > before), 0)::bigint,
       coalesce(sum(before - after) FILTER (WHERE after > 0 AND after < before), 0)::bigint,
       coalesce(sum(before) FILTER (WHERE after = 0), 0)::bigint,
       count(*) FILTER (WHERE before = 0) - count(*) FILTER (WHERE after = 0),
       count(*) FILTER (WHERE after = 0)
FROM moves GROUP BY bucket
"""


def compute(ask: Ask, days: Days) -> Values:
    """The numbers above, for every one of `days`."""
    back = [days.first - ONE_DAY * number for number in range(_WINDOW_DAYS, 0, -1)]
    mrr = {day: ask.kept(day, "subscriptions.mrr") for day in back}
    churn = {day: ask.kept(day, "subscriptions.mrr_churn") for day in back}
    known = None not in mrr.values() and None not in churn.values()
    counted = days if known else days.reaching_back(_WINDOW_DAYS - 1)
    level, subscribers = (ask.kept(counted.first - ONE_DAY, f"subscriptions.{one}") for one in ("mrr", "subscribers"))
    everybody = level is None or subscribers is None
    found = {row.bucket: row for row in ask(_MOVEMENTS, **span(counted), everybody=everybody)}
    if level is None or subscribers is None:
        level, subscribers = found[0].step, found[0].subscribers
    mrr[counted.first - ONE_DAY] = level
    values: Values = {}
    for bucket, day in enumerate(counted, start=1):
        row = found.get(bucket, _NOTHING)
        level, subscribers = level + row.step, subscribers + row.subscribers
        mrr[day], churn[day] = level, row.lost
        if day < days.first:
            continue
        numbers: dict[str, Value] = {
            "mrr": level,
            "mrr_new": row.gained - row.regained,
            "mrr_expansion": row.expanded,
            "mrr_reactivation": row.regained,
            "mrr_contraction": row.contracted,
            "mrr_churn": row.lost,
            "subscribers": subscribers,
            "subscribers_lost": row.subscribers_lost,
        }
        if before := mrr[day - ONE_DAY * _WINDOW_DAYS]:
            lost = sum(churn[day - ONE_DAY * number] or 0 for number in range(_WINDOW_DAYS))
            numbers["churn_rate_30"] = rounded(10_000 * lost, before)
        values[day] = numbers
    return values
