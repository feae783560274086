"""Payments: what came in, how, what went back, and how fast it was credited."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from services.stats.days import ONE_DAY, Days
from services.stats.sections.base import (
    FOREVER,
    MetricDefinition,
    Query,
    Rules,
    Section,
    Unit,
    Value,
    Values,
    breakdown,
    by_bucket,
    keyed,
    largest,
    rounded,
    span,
    split,
)
from services.stats.sections.ledger_movements import Movements, ledger
from services.stats.sections.subscription_terms import buckets

_LEDGER = "ledger_transactions, ledger_entries"

NUMBERS = (
    MetricDefinition(
        "cash_in",
        Unit.MINOR,
        "Money that came in: top-ups by payments, and what the school took at its office, which is beside the wallets "
        "and no part of them. Nothing that went back is taken off, nor are the providers' fees.",
        source=f"{_LEDGER}, office_payments",
        reconciles="topped_up and office",
    ),
    MetricDefinition(
        "topped_up",
        Unit.MINOR,
        "Top-ups: what payments brought to wallets, booked in the day, in the school's currency. It is owed to "
        "students until they spend it, and no revenue.",
        source=_LEDGER,
        reconciles="the change of wallets.total",
    ),
    MetricDefinition(
        "office",
        Unit.MINOR,
        "Cash, transfers and cheques that the school took at its office in the day (received_at), in its currency. "
        "What it gave back there is `office_returned`. The office's money is no part of wallets and of the ledger.",
        source="office_payments",
    ),
    MetricDefinition(
        "office_returned",
        Unit.MINOR,
        "What the school gave back at its office in the day (negative rows), in its currency. It is no part of "
        "refunded, which the providers paid back.",
        source="office_payments",
    ),
    MetricDefinition(
        "office_by_method", Unit.MINOR, "office.", by="method", source="office_payments", reconciles="office"
    ),
    MetricDefinition(
        "refunded",
        Unit.MINOR,
        "Refunds by providers, booked in the day: what went back to payers, less refunds that were reversed. Disputes "
        "of the time before the ledger distinguished them are here too.",
        source=_LEDGER,
    ),
    MetricDefinition(
        "charged_back",
        Unit.MINOR,
        "Chargebacks, booked in the day: what lost disputes took from wallets, less what was won after all.",
        source=_LEDGER,
    ),
    MetricDefinition(
        "disputes_open",
        Unit.MINOR,
        "What is withheld from wallets at the day's end for disputes that nobody has decided, which the bank may still "
        "take.",
        reach_days=FOREVER,
        source=_LEDGER,
    ),
    MetricDefinition(
        "fees",
        Unit.MINOR,
        "What the providers kept of payments and for disputes, booked in the day, where they say so.",
        source=_LEDGER,
    ),
    MetricDefinition("fees_by_provider", Unit.MINOR, "fees.", by="provider", source=_LEDGER, reconciles="fees"),
    MetricDefinition(
        "clearing",
        Unit.MINOR,
        "Clearing at the day's end: what the providers have collected and owe to the school, less what went back, what "
        "they kept and what they paid out, as far as `nouba payments record-payout` booked it.",
        reach_days=FOREVER,
        source=_LEDGER,
        reconciles="the day before, with topped_up, without refunded, charged_back, the change of disputes_open, fees "
        "and paid_out",
    ),
    MetricDefinition(
        "paid_out",
        Unit.MINOR,
        "What the providers paid out to the school's bank, booked in the day by `nouba payments record-payout`, less "
        "payouts that came back. It is neither cash in nor revenue: it is what they had collected before.",
        source=_LEDGER,
    ),
    MetricDefinition(
        "clearing_by_provider",
        Unit.MINOR,
        "Clearing at the day's end: what each provider owes, less what it paid out as far as that is booked.",
        by="provider",
        reach_days=FOREVER,
        source=_LEDGER,
        reconciles="clearing",
    ),
    MetricDefinition(
        "topped_up_by_provider", Unit.MINOR, "topped_up.", by="provider", source=_LEDGER, reconciles="topped_up"
    ),
    MetricDefinition(
        "topped_up_by_method", Unit.MINOR, "topped_up.", by="method", source=_LEDGER, reconciles="topped_up"
    ),
    MetricDefinition(
        "topped_up_to_date", Unit.MINOR, "topped_up of all days up to this one.", reach_days=FOREVER, source=_LEDGER
    ),
    MetricDefinition("started", Unit.COUNT, "Payments begun (created_at) in the day, in any currency."),
    MetricDefinition(
        "started_by_status",
        Unit.COUNT,
        "Payments begun in the day, by what has become of them since: one that was completed and then refunded, in "
        "part or wholly, or disputed counts under that, and not under completed.",
        by="status",
    ),
    MetricDefinition("started_by_method", Unit.COUNT, "Payments begun in the day.", by="method"),
    MetricDefinition("pending", Unit.COUNT, "Payments begun in the day that are still pending or only authorised."),
    MetricDefinition("failed", Unit.COUNT, "Payments begun in the day that failed."),
    MetricDefinition("failure_reasons", Unit.COUNT, "Payments begun in the day that failed.", by="reason"),
    MetricDefinition(
        "success_rate",
        Unit.BASIS_POINTS,
        "Payments begun in the day that were completed, whatever was refunded or disputed of them later, by those that "
        "are not pending any more, rounded; left out where there are none.",
    ),
    MetricDefinition(
        "completed",
        Unit.COUNT,
        "Payments completed (completed_at) in the day, in the school's currency, whatever was refunded or disputed of "
        "them later: partly and wholly refunded ones are among them.",
    ),
    MetricDefinition(
        "mean",
        Unit.MINOR,
        "The amounts of the payments completed in the day by their number, rounded; left out without.",
    ),
    MetricDefinition("completed_by_provider", Unit.COUNT, "`completed`.", by="provider", reconciles="completed"),
    MetricDefinition("completed_by_method", Unit.COUNT, "`completed`.", by="method", reconciles="completed"),
    MetricDefinition("completed_to_date", Unit.COUNT, "`completed` of all days up to this one.", reach_days=FOREVER),
    MetricDefinition(
        "other_currency",
        Unit.COUNT,
        "Payments completed in the day in another currency; no amount includes them.",
        # a user who pays in any currency has paid
        reach_days=30,
    ),
    MetricDefinition("credited", Unit.COUNT, "Webhooks about payments that were booked (processed_at) in the day."),
    MetricDefinition(
        "credit_p50", Unit.MILLISECONDS, "From a webhook's arrival until it was booked: half took at most this."
    ),
    MetricDefinition("credit_p95", Unit.MILLISECONDS, "The same: the 95th percentile."),
    MetricDefinition("credit_max", Unit.MILLISECONDS, "The same: the longest."),
)

_PAYMENTS = """
SELECT begun, done, status, provider, method, reason, grouping(begun, done, status, provider, method, reason) AS kind,
       sum(payments)::bigint AS payments, coalesce(sum(payments) FILTER (WHERE ours), 0)::bigint AS completed,
       coalesce(sum(amount_minor) FILTER (WHERE ours), 0)::bigint AS amount_minor
FROM (
    SELECT width_bucket(created_at, %(edges)s) AS begun, width_bucket(completed_at, %(edges)s) AS done, status,
           provider, method, CASE WHEN status = 'failed' THEN coalesce(failure_reason, '~none') END AS reason,
           currency = %(currency)s AS ours, count(*) AS payments, sum(amount_minor) AS amount_minor
    FROM payments
    WHERE (created_at >= %(begins_at)s AND created_at < %(ends_at)s)
       OR (completed_at >= %(begins_at)s AND completed_at < %(ends_at)s)
    GROUP BY begun, done, status, provider, method, reason, ours
) AS found
GROUP BY GROUPING SETS ((begun, status), (begun, method), (begun, reason), (done, provider), (done, method))
"""
# grouping() has a bit for every column that was not grouped by: begun, done, status, provider, method, reason
_BY_STATUS, _BY_REASON, _BY_PROVIDER, _BY_METHOD = 0b010111, 0b011110, 0b101011, 0b101101
_BEGUN_BY_METHOD = 0b011101
#: Statuses of payments that nothing was decided about, and of those that were collected, whatever came after.
_OPEN = ("pending", "authorized")
COLLECTED = ("completed", "partially_refunded", "refunded", "disputed", "charged_back")

_BEFORE = """
SELECT count(*) AS completed FROM payments
WHERE completed_at < %(begins_at)s AND currency = %(currency)s
"""

_CREDITED = """
SELECT received_at, processed_at FROM webhook_events
WHERE processed_at >= %(begins_at)s AND processed_at < %(ends_at)s AND state = 'applied' AND payment_id IS NOT NULL
"""
#: The waits of so many days are in memory at once.
_PART_DAYS = 31


_OFFICE = """
SELECT width_bucket(received_at, %(edges)s) AS bucket, method,
       coalesce(sum(amount_minor) FILTER (WHERE amount_minor > 0), 0)::bigint AS taken,
       coalesce(-sum(amount_minor) FILTER (WHERE amount_minor < 0), 0)::bigint AS returned
FROM office_payments
WHERE received_at >= %(begins_at)s AND received_at < %(ends_at)s AND currency = %(currency)s GROUP BY bucket, method
"""


def compute(ask: Query, days: Days, rules: Rules) -> Values:
    rows = ask(_PAYMENTS, **span(days), currency=rules.currency)
    begun = _begun(days, rows)
    done = _done(days, rows, _before(ask, days, rules.currency))
    at_office = ask(_OFFICE, **span(days), currency=rules.currency)
    office = keyed(days, ((row.bucket, row.method, row.taken) for row in at_office))
    returned = by_bucket(days, ((row.bucket, row.returned) for row in at_office))
    booked = _booked(days, ask.once(ledger, days, rules.currency).moved, office)
    credited = _credited(ask, days)
    values: Values = {}
    for bucket, day in enumerate(days, start=1):
        values[day] = {**booked[bucket - 1], **begun[bucket - 1], **done[bucket - 1], **credited[bucket - 1]}
        values[day]["office_returned"] = returned[bucket]
    return values


def _credited(ask: Query, days: Days) -> list[dict[str, Value]]:
    """How long webhooks about payments waited, of each day."""
    found: list[dict[str, Value]] = []
    for part in days.parts(_PART_DAYS):
        received_at, processed_at = ask.columns(_CREDITED, ("received_at", "processed_at"), **span(part))
        bucket, waited_ms = buckets(processed_at, part), (processed_at - received_at) // 1000
        for waits in split(waited_ms, bucket, len(part))[1:-1]:
            ordered, number = np.sort(waits), waits.size
            numbers: dict[str, Value] = {"credited": number}
            if number:
                for name, percent in (("p50", 50), ("p95", 95), ("max", 100)):
                    numbers[f"credit_{name}"] = int(ordered[-(-percent * number // 100) - 1])
            found.append(numbers)
    return found


def _booked(days: Days, moved: Movements, office: Mapping[str, list[int]]) -> list[dict[str, Value]]:
    """The numbers of the money that was booked in each day."""
    to_date, withheld, clearing = (moved.before[name] for name in ("topped_up", "disputes_open", "clearing"))
    due = dict(moved.due_before)
    found: list[dict[str, Value]] = []
    for bucket in range(1, len(days) + 1):
        for provider, amounts in moved.due.items():
            due[provider] = due.get(provider, 0) - amounts[bucket]
        taken = sum(amounts[bucket] for amounts in office.values())
        to_date, withheld = to_date + moved.topped_up[bucket], withheld + moved.withheld[bucket]
        clearing += moved.clearing[bucket]
        found.append(
            {
                "cash_in": moved.topped_up[bucket] + taken,
                "topped_up": moved.topped_up[bucket],
                "office": taken,
                "office_by_method": breakdown(office, bucket),
                "refunded": moved.refunded[bucket],
                "charged_back": moved.charged_back[bucket],
                "disputes_open": withheld,
                "fees": moved.fees[bucket],
                "fees_by_provider": breakdown(moved.fees_by_provider, bucket),
                "clearing": clearing,
                "paid_out": moved.paid_out[bucket],
                "clearing_by_provider": largest({key: amount for key, amount in due.items() if amount}),
                "topped_up_by_provider": breakdown(moved.by_provider, bucket),
                "topped_up_by_method": breakdown(moved.by_method, bucket),
                "topped_up_to_date": to_date,
            }
        )
    return found


def _before(ask: Query, days: Days, currency: str) -> int:
    """How many had been completed before the days."""
    kept = ask.kept(days.first - ONE_DAY, "payments.completed_to_date")
    return ask(_BEFORE, begins_at=days.begins_at, currency=currency)[0].completed if kept is None else kept


def _begun(days: Days, rows: Sequence[Any]) -> list[dict[str, Value]]:
    """The numbers of the payments that were begun in each day."""
    statuses = keyed(days, ((row.begun, row.status, row.payments) for row in rows if row.kind == _BY_STATUS))
    methods = keyed(days, ((row.begun, row.method, row.payments) for row in rows if row.kind == _BEGUN_BY_METHOD))
    reasons = keyed(
        days, ((row.begun, row.reason, row.payments) for row in rows if row.kind == _BY_REASON and row.reason)
    )

    def of(bucket: int, *names: str) -> int:
        return sum(statuses[name][bucket] for name in names if name in statuses)

    found: list[dict[str, Value]] = []
    for bucket in range(1, len(days) + 1):
        started, pending = of(bucket, *statuses), of(bucket, *_OPEN)
        numbers: dict[str, Value] = {
            "started": started,
            "started_by_status": breakdown(statuses, bucket),
            "started_by_method": breakdown(methods, bucket),
            "pending": pending,
            "failed": of(bucket, "failed"),
            "failure_reasons": breakdown(reasons, bucket),
        }
        if decided := started - pending:
            numbers["success_rate"] = rounded(10_000 * of(bucket, *COLLECTED), decided)
        found.append(numbers)
    return found


def _done(days: Days, rows: Sequence[Any], to_date: int) -> list[dict[str, Value]]:
    """The numbers of the payments that were completed in each day."""
    by_provider = [row for row in rows if row.kind == _BY_PROVIDER and row.done is not None]
    by_method = [row for row in rows if row.kind == _BY_METHOD and row.done is not None]
    payments, completed, amounts = (
        by_bucket(days, ((row.done, getattr(row, name)) for row in by_provider))
        for name in ("payments", "completed", "amount_minor")
    )
    providers = keyed(days, ((row.done, row.provider, row.completed) for row in by_provider))
    methods = keyed(days, ((row.done, row.method, row.completed) for row in by_method))
    found: list[dict[str, Value]] = []
    for bucket in range(1, len(days) + 1):
        to_date += completed[bucket]
        numbers: dict[str, Value] = {
            "completed": completed[bucket],
            "completed_by_provider": breakdown(providers, bucket),
            "completed_by_method": breakdown(methods, bucket),
            "completed_to_date": to_date,
            "other_currency": payments[bucket] - completed[bucket],
        }
        if completed[bucket]:
            numbers["mean"] = rounded(amounts[bucket], completed[bucket])
        found.append(numbers)
    return found


SECTION = Section("payments", NUMBERS, compute, weight=5, source="payments, webhook_events")
