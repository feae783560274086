"""Wallets: what the school owes to students, what they owe to it, and what moved."""

from services.stats.days import Days
from services.stats.sections.base import (
    FOREVER,
    MetricDefinition,
    Query,
    Rules,
    Section,
    Unit,
    Value,
    Values,
    by_bucket,
    rounded,
    running,
)
from services.stats.sections.ledger_movements import ledger
from services.stats.sections.registered_users import counted

NUMBERS = (
    MetricDefinition(
        "credit",
        Unit.MINOR,
        "Owed to students at the day's end: the sum of all wallets that are above zero.",
        reach_days=FOREVER,
        source="users, ledger_entries",
        reconciles="total, with debt",
    ),
    MetricDefinition(
        "debt",
        Unit.MINOR,
        "Owed by students at the day's end: what all wallets that are below zero lack.",
        reach_days=FOREVER,
        source="users, ledger_entries",
    ),
    MetricDefinition(
        "debtors",
        Unit.COUNT,
        "Users whose wallet is below zero at the day's end.",
        reach_days=FOREVER,
        source="users, ledger_entries",
    ),
    MetricDefinition(
        "total",
        Unit.MINOR,
        "What all wallets hold at the day's end, debts taken off.",
        reach_days=FOREVER,
        reconciles="the day before, with topped_up and adjusted, without refunded, charged_back, the change of "
        "disputes_open, and revenue.net",
    ),
    MetricDefinition(
        "mean",
        Unit.MINOR,
        "total by the users registered before the day's end, rounded; left out without users.",
        reach_days=FOREVER,
    ),
    MetricDefinition(
        "adjusted", Unit.MINOR, "What operators' corrections gave to wallets in the day, less what they took."
    ),
)


def compute(ask: Query, days: Days, rules: Rules) -> Values:
    found = ask.once(ledger, days, rules.currency)
    moved, total = found.moved, found.moved.before["wallets"]
    owners = running(by_bucket(days, ((row.bucket, row.users) for row in ask.once(counted, days))))
    values: Values = {}
    for bucket, day in enumerate(days, start=1):
        credit, debt, debtors = found.balances[:, bucket].tolist()
        total += moved.wallets[bucket]
        numbers: dict[str, Value] = {
            "credit": credit,
            "debt": debt,
            "debtors": debtors,
            "total": total,
            "adjusted": moved.adjusted[bucket],
        }
        if owners[bucket]:
            numbers["mean"] = rounded(total, owners[bucket])
        values[day] = numbers
    return values


SECTION = Section("wallets", NUMBERS, compute, weight=3, source="ledger_transactions, ledger_entries")
