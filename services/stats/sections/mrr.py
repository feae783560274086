"""Monthly recurring revenue: what the subscriptions that run bring a month, and the five ways in which it moves.

A subscription's amount is spread over its months, in whole minor units that add up to it exactly: every month gets
the amount divided by the months, and the first ones get one unit more until the remainder is used up.
"""

from datetime import UTC, datetime, timedelta

from services.stats.days import Days
from services.stats.numbers import FOREVER, Ask, Number, Unit, Value, Values, rounded

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: What churn is measured over.
_WINDOW_DAYS = 30

NUMBERS = (
    Number(
        "mrr",
        Unit.MINOR,
        "Monthly recurring revenue at the day's end. A term has as many months as pieces of 31 days fit into it, "
        "rounded up, and is cut into as many equal parts; its amount is spread over them in whole units, the first "
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

# Instants are whole microseconds here, so that every quotient is exact. A term of `length` has `months` parts; part p
# begins at p * length / months, rounded up, which is p * whole + (p * rest + months - 1) / months without large
# products. Only the parts that touch the days are made: whole and whole + 1 are the least and the most a part takes.
_MOVEMENTS = """
WITH found AS (
    SELECT user_id, amount_minor, (extract(epoch FROM activated_at) * 1000000)::bigint AS begins,
           (extract(epoch FROM ends_at - activated_at) * 1000000)::bigint AS length
    FROM subscriptions
    WHERE status <> 'pending_payment' AND amount_minor > 0 AND activated_at < %(ends_at)s
      AND (ends_at IS NULL OR (ends_at >= %(begins_at)s AND ends_at > activated_at))
), terms AS (
    SELECT *, length / months AS whole, length %% months AS rest
    FROM (SELECT *, (length + 2678400000000 - 1) / 2678400000000 AS months FROM found) AS counted
), parts AS (
    SELECT user_id, amount_minor / months + (part < amount_minor %% months)::int AS mrr,
           begins + part * whole + (part * rest + months - 1) / months AS begins,
           begins + (part + 1) * whole + ((part + 1) * rest + months - 1) / months AS ends
    FROM terms, generate_series(greatest(0, (%(begins_us)s - begins) / (whole + 1)),
                                least(months - 1, (%(ends_us)s - begins) / whole)) AS part
    WHERE months IS NOT NULL
    UNION ALL
    SELECT user_id, amount_minor, begins, NULL FROM terms WHERE months IS NULL
), steps AS (
    SELECT user_id, width_bucket(at, %(edges_us)s::bigint[]) AS bucket, sum(step)::bigint AS step
    FROM (
        SELECT user_id, begins AS at, mrr AS step FROM parts
        UNION ALL
        SELECT user_id, ends, -mrr FROM parts WHERE ends IS NOT NULL
    ) AS both_ends
    WHERE at < %(ends_us)s
    GROUP BY user_id, bucket
), levels AS (
    SELECT user_id, bucket, step, (sum(step) OVER (PARTITION BY user_id ORDER BY bucket))::bigint AS after FROM steps
), moves AS (
    SELECT bucket, after - step AS before, after, CASE WHEN after = step AND after > 0 AND bucket > 0 THEN EXISTS (
        SELECT FROM subscriptions AS earlier
        WHERE earlier.user_id = levels.user_id AND earlier.status <> 'pending_payment' AND earlier.amount_minor > 0
          AND earlier.activated_at < (%(edges)s)[bucket]
          AND (earlier.ends_at IS NULL OR earlier.ends_at > earlier.activated_at)
    ) END AS known
    FROM levels WHERE step <> 0
)
SELECT bucket, sum(after - before)::bigint AS step,
       coalesce(sum(after) FILTER (WHERE before = 0 AND NOT known), 0)::bigint AS won,
       coalesce(sum(after) FILTER (WHERE before = 0 AND known), 0)::bigint AS regained,
       coalesce(sum(after - before) FILTER (WHERE before > 0 AND after > before), 0)::bigint AS expanded,
       coalesce(sum(before - after) FILTER (WHERE after > 0 AND after < before), 0)::bigint AS contracted,
       coalesce(sum(before) FILTER (WHERE after = 0), 0)::bigint AS lost,
       count(*) FILTER (WHERE before = 0) - count(*) FILTER (WHERE after = 0) AS subscribers,
       count(*) FILTER (WHERE after = 0) AS subscribers_lost
FROM moves GROUP BY bucket
"""


def compute(ask: Ask, days: Days) -> Values:
    """The numbers above, for every one of `days`."""
    longer = days.reaching_back(_WINDOW_DAYS - 1)
    edges = longer.edges
    rows = ask(
        _MOVEMENTS,
        edges=edges,
        edges_us=[_microseconds(edge) for edge in edges],
        begins_us=_microseconds(edges[0]),
        ends_us=_microseconds(edges[-1]),
        begins_at=edges[0],
        ends_at=edges[-1],
    )
    found = {row.bucket: row for row in rows}
    start = found.get(0)
    mrr = [start.step if start else 0]
    subscribers = [start.subscribers if start else 0]
    churn = [0]
    values: Values = {}
    for bucket, day in enumerate(longer, start=1):
        row = found.get(bucket)
        mrr.append(mrr[-1] + (row.step if row else 0))
        subscribers.append(subscribers[-1] + (row.subscribers if row else 0))
        churn.append(row.lost if row else 0)
        if day < days.first:
            continue
        numbers: dict[str, Value] = {
            "mrr": mrr[bucket],
            "mrr_new": row.won if row else 0,
            "mrr_expansion": row.expanded if row else 0,
            "mrr_reactivation": row.regained if row else 0,
            "mrr_contraction": row.contracted if row else 0,
            "mrr_churn": churn[bucket],
            "subscribers": subscribers[bucket],
            "subscribers_lost": row.subscribers_lost if row else 0,
        }
        if before := mrr[bucket - _WINDOW_DAYS]:
            numbers["churn_rate_30"] = rounded(10_000 * sum(churn[bucket - _WINDOW_DAYS + 1 : bucket + 1]), before)
        values[day] = numbers
    return values


def _microseconds(instant: datetime) -> int:
    """Since 1970, exactly."""
    return (instant - _EPOCH) // timedelta(microseconds=1)
