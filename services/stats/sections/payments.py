"""Payments: what came in, how, what went back, and how fast it was credited."""

from collections.abc import Sequence
from typing import Any

from services.stats.days import ONE_DAY, Days
from services.stats.sections.activity import span
from services.stats.sections.base import (
    FOREVER,
    MetricDefinition,
    Query,
    Section,
    Unit,
    Value,
    Values,
    breakdown,
    by_bucket,
    keyed,
    rounded,
)

NUMBERS = (
    MetricDefinition("started", Unit.COUNT, "Payments begun (created_at) in the day, in any currency."),
    MetricDefinition(
        "started_by_status", Unit.COUNT, "Payments begun in the day, by what became of them.", by="status"
    ),
    MetricDefinition("pending", Unit.COUNT, "Payments begun in the day that are still pending or only authorised."),
    MetricDefinition("failed", Unit.COUNT, "Payments begun in the day that failed."),
    MetricDefinition("failure_reasons", Unit.COUNT, "Payments begun in the day that failed.", by="reason"),
    MetricDefinition(
        "completed", Unit.COUNT, "Payments completed (completed_at) in the day, in the school's currency."
    ),
    MetricDefinition("revenue", Unit.MINOR, "Gross revenue: the amounts of the payments completed in the day."),
    MetricDefinition(
        "refunded",
        Unit.MINOR,
        "What is no longer held of the payments completed in the day: refunded, charged back, withheld in a dispute.",
    ),
    MetricDefinition("refunds", Unit.COUNT, "Payments completed in the day of which something is no longer held."),
    MetricDefinition("revenue_net", Unit.MINOR, "Net revenue: revenue less refunded."),
    MetricDefinition(
        "fees", Unit.MINOR, "What the providers kept of the payments completed in the day, where they say so."
    ),
    MetricDefinition("mean", Unit.MINOR, "revenue by completed, rounded; left out without payments."),
    MetricDefinition("completed_by_provider", Unit.COUNT, "Payments completed in the day.", by="provider"),
    MetricDefinition("completed_by_method", Unit.COUNT, "Payments completed in the day.", by="method"),
    MetricDefinition("revenue_by_provider", Unit.MINOR, "revenue of the day.", by="provider"),
    MetricDefinition("revenue_by_method", Unit.MINOR, "revenue of the day.", by="method"),
    MetricDefinition("revenue_to_date", Unit.MINOR, "revenue of all days up to this one.", reach_days=FOREVER),
    MetricDefinition(
        "completed_to_date", Unit.COUNT, "All payments completed before the day's end.", reach_days=FOREVER
    ),
    MetricDefinition(
        "other_currency", Unit.COUNT, "Payments completed in the day in another currency; no amount includes them."
    ),
    MetricDefinition("credited", Unit.COUNT, "Webhooks about payments that were booked (processed_at) in the day."),
    MetricDefinition(
        "credit_p50", Unit.MILLISECONDS, "From a webhook's arrival until it was booked: half took at most this."
    ),
    MetricDefinition("credit_p95", Unit.MILLISECONDS, "The same: 95 of 100 took at most this."),
    MetricDefinition("credit_max", Unit.MILLISECONDS, "The same: the longest."),
)

_PAYMENTS = """
SELECT begun, done, status, provider, method, reason, grouping(begun, done, status, provider, method, reason) AS kind,
       sum(payments)::bigint AS payments, coalesce(sum(payments) FILTER (WHERE ours), 0)::bigint AS completed,
       coalesce(sum(amount_minor) FILTER (WHERE ours), 0)::bigint AS amount_minor,
       coalesce(sum(refunded_minor) FILTER (WHERE ours), 0)::bigint AS refunded_minor,
       coalesce(sum(refunds) FILTER (WHERE ours), 0)::bigint AS refunds,
       coalesce(sum(fee_minor) FILTER (WHERE ours), 0)::bigint AS fee_minor
FROM (
    SELECT width_bucket(created_at, %(edges)s) AS begun, width_bucket(completed_at, %(edges)s) AS done, status,
           provider, method, CASE WHEN status = 'failed' THEN coalesce(failure_reason, '~none') END AS reason,
           currency = %(currency)s AS ours, count(*) AS payments, sum(amount_minor) AS amount_minor,
           sum(amount_minor - credited_minor) AS refunded_minor, sum(fee_minor) AS fee_minor,
           count(*) FILTER (WHERE credited_minor < amount_minor) AS refunds
    FROM payments
    WHERE (created_at >= %(begins_at)s AND created_at < %(ends_at)s)
       OR (completed_at >= %(begins_at)s AND completed_at < %(ends_at)s)
    GROUP BY begun, done, status, provider, method, reason, ours
) AS found
GROUP BY GROUPING SETS ((begun, status), (begun, reason), (done, provider), (done, method))
"""
# grouping() has a bit for every column that was not grouped by: begun, done, status, provider, method, reason
_BY_STATUS, _BY_REASON, _BY_PROVIDER, _BY_METHOD = 0b010111, 0b011110, 0b101011, 0b101101

_BEFORE = """
SELECT count(*) AS completed, coalesce(sum(amount_minor), 0)::bigint AS amount_minor FROM payments
WHERE completed_at < %(begins_at)s AND currency = %(currency)s
"""

# Few waits are of different length, so they are counted before they are put in order. In microseconds a
# wait fits into a double exactly, which is several times as fast as the numeric of extract().
_CREDITED = """
SELECT bucket, sum(webhooks)::bigint AS webhooks, max(waited_ms) AS longest,
       min(waited_ms) FILTER (WHERE 2 * so_far >= of_all) AS half,
       min(waited_ms) FILTER (WHERE 100 * so_far >= 95 * of_all) AS most
FROM (
    SELECT *, sum(webhooks) OVER (PARTITION BY bucket ORDER BY waited_ms) AS so_far,
           sum(webhooks) OVER (PARTITION BY bucket) AS of_all
    FROM (
        SELECT width_bucket(processed_at, %(edges)s) AS bucket,
               floor(round(date_part('epoch', processed_at - received_at) * 1000000) / 1000)::bigint AS waited_ms,
               count(*) AS webhooks
        FROM webhook_events
        WHERE processed_at >= %(begins_at)s AND processed_at < %(ends_at)s
          AND state = 'applied' AND payment_id IS NOT NULL
        GROUP BY bucket, waited_ms
    ) AS counted
) AS ordered GROUP BY bucket
"""


def compute(ask: Query, days: Days, currency: str) -> Values:
    rows = ask(_PAYMENTS, **span(days), currency=currency)
    begun = _begun(days, rows)
    done = _done(days, rows, _before(ask, days, currency))
    credited = {row.bucket: row for row in ask(_CREDITED, **span(days))}
    values: Values = {}
    for bucket, day in enumerate(days, start=1):
        values[day] = {**begun[bucket - 1], **done[bucket - 1], "credited": 0}
        if row := credited.get(bucket):
            values[day] |= {
                "credited": row.webhooks,
                "credit_p50": row.half,
                "credit_p95": row.most,
                "credit_max": row.longest,
            }
    return values


def _before(ask: Query, days: Days, currency: str) -> dict[str, int]:
    """What had been completed before the days."""
    names = {"completed": "payments.completed_to_date", "amount_minor": "payments.revenue_to_date"}
    kept = {name: ask.kept(days.first - ONE_DAY, kept_as) for name, kept_as in names.items()}
    found = {name: amount for name, amount in kept.items() if amount is not None}
    if len(found) == len(names):
        return found
    row = ask(_BEFORE, begins_at=days.begins_at, currency=currency)[0]
    return {name: getattr(row, name) for name in names}


def _begun(days: Days, rows: Sequence[Any]) -> list[dict[str, Value]]:
    """The numbers of the payments that were begun in each day."""
    statuses = keyed(days, ((row.begun, row.status, row.payments) for row in rows if row.kind == _BY_STATUS))
    reasons = keyed(
        days, ((row.begun, row.reason, row.payments) for row in rows if row.kind == _BY_REASON and row.reason)
    )

    def of(bucket: int, *names: str) -> int:
        return sum(statuses[name][bucket] for name in names if name in statuses)

    return [
        {
            "started": of(bucket, *statuses),
            "started_by_status": breakdown(statuses, bucket),
            "pending": of(bucket, "pending", "authorized"),
            "failed": of(bucket, "failed"),
            "failure_reasons": breakdown(reasons, bucket),
        }
        for bucket in range(1, len(days) + 1)
    ]


def _done(days: Days, rows: Sequence[Any], to_date: dict[str, int]) -> list[dict[str, Value]]:
    """The numbers of the payments that were completed in each day."""
    by_provider = [row for row in rows if row.kind == _BY_PROVIDER and row.done is not None]
    by_method = [row for row in rows if row.kind == _BY_METHOD and row.done is not None]
    sums = {
        name: by_bucket(days, ((row.done, getattr(row, name)) for row in by_provider))
        for name in ("payments", "completed", "amount_minor", "refunded_minor", "refunds", "fee_minor")
    }
    providers, methods = (
        {
            name: keyed(days, ((row.done, getattr(row, key), getattr(row, name)) for row in found))
            for name in ("completed", "amount_minor")
        }
        for key, found in (("provider", by_provider), ("method", by_method))
    )
    found: list[dict[str, Value]] = []
    for bucket in range(1, len(days) + 1):
        of = {name: buckets[bucket] for name, buckets in sums.items()}
        to_date = {name: amount + of[name] for name, amount in to_date.items()}
        numbers: dict[str, Value] = {
            "completed": of["completed"],
            "revenue": of["amount_minor"],
            "refunded": of["refunded_minor"],
            "refunds": of["refunds"],
            "revenue_net": of["amount_minor"] - of["refunded_minor"],
            "fees": of["fee_minor"],
            "completed_by_provider": breakdown(providers["completed"], bucket),
            "completed_by_method": breakdown(methods["completed"], bucket),
            "revenue_by_provider": breakdown(providers["amount_minor"], bucket),
            "revenue_by_method": breakdown(methods["amount_minor"], bucket),
            "revenue_to_date": to_date["amount_minor"],
            "completed_to_date": to_date["completed"],
            "other_currency": of["payments"] - of["completed"],
        }
        if of["completed"]:
            numbers["mean"] = rounded(of["amount_minor"], of["completed"])
        found.append(numbers)
    return found


SECTION = Section("payments", NUMBERS, compute, weight=3)
