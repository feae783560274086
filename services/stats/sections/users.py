"""Users: how many, how many new ones and active ones, who they are, and what they hold in their wallets."""

from services.stats.activity import ACTIVE, WITH_ACTIVE, span
from services.stats.days import Days
from services.stats.numbers import (
    FOREVER,
    Ask,
    Number,
    Section,
    Unit,
    Value,
    Values,
    breakdown,
    by_bucket,
    keyed,
    rounded,
    running,
)

NUMBERS = (
    Number("total", Unit.COUNT, "Users registered (created_at) before the day's end.", reach_days=FOREVER),
    Number("new", Unit.COUNT, "Users registered in the day.", reach_days=30),
    Number("active", Unit.COUNT, f"Users who left a trace in the day: {ACTIVE}.", reach_days=30),
    Number("by_role", Unit.COUNT, "Users registered before the day's end.", by="role", observed=True),
    Number("by_year", Unit.COUNT, "Users registered before the day's end.", by="year of study", observed=True),
    Number(
        "balance_total",
        Unit.MINOR,
        "What all wallets hold at the day's end: the sum of their ledger entries booked before it.",
        reach_days=FOREVER,
    ),
    Number("balance_mean", Unit.MINOR, "balance_total by total, rounded; left out without users.", reach_days=FOREVER),
)

_USERS = """
SELECT bucket, role, year_of_study, grouping(role, year_of_study) AS kind,
       count(*) AS users, sum(balance_minor)::bigint AS balance_minor
FROM (SELECT width_bucket(created_at, %(edges)s) AS bucket, role, year_of_study, balance_minor FROM users) AS found
GROUP BY GROUPING SETS ((bucket), (bucket, role), (bucket, year_of_study))
"""
_ONLY_BUCKET, _BY_ROLE, _BY_YEAR = 0b11, 0b01, 0b10

# The balances are kept as of now; what was booked after a day is taken off again.
_BOOKED = """
SELECT width_bucket(booked.created_at, %(edges)s) AS bucket, sum(entry.amount_minor)::bigint AS amount_minor
FROM ledger_transactions AS booked
JOIN ledger_entries AS entry ON entry.transaction_id = booked.id
JOIN ledger_accounts AS account ON account.id = entry.account_id AND account.kind = 'user_wallet'
WHERE booked.created_at >= %(begins_at)s
GROUP BY bucket
"""

_ACTIVE = f"{WITH_ACTIVE} SELECT bucket, count(*) AS users FROM active GROUP BY bucket"  # noqa: S608


def compute(ask: Ask, days: Days, currency: str) -> Values:
    rows = ask(_USERS, edges=days.edges)
    plain = [row for row in rows if row.kind == _ONLY_BUCKET]
    new = by_bucket(days, ((row.bucket, row.users) for row in plain))
    total = running(new)
    roles = keyed(days, ((row.bucket, row.role, row.users) for row in rows if row.kind == _BY_ROLE))
    years = keyed(days, ((row.bucket, row.year_of_study, row.users) for row in rows if row.kind == _BY_YEAR))
    roles, years = ({key: running(counts) for key, counts in found.items()} for found in (roles, years))
    booked = by_bucket(days, ((row.bucket, row.amount_minor) for row in ask(_BOOKED, **span(days))))
    balance = sum(row.balance_minor for row in plain)
    active = by_bucket(days, ((row.bucket, row.users) for row in ask(_ACTIVE, **span(days))))
    values: Values = {}
    for bucket, day in enumerate(days, start=1):
        held = balance - sum(booked[bucket + 1 :])
        numbers: dict[str, Value] = {
            "total": total[bucket],
            "new": new[bucket],
            "active": active[bucket],
            "by_role": breakdown(roles, bucket),
            "by_year": breakdown(years, bucket),
            "balance_total": held,
        }
        if total[bucket]:
            numbers["balance_mean"] = rounded(held, total[bucket])
        values[day] = numbers
    return values


SECTION = Section("users", NUMBERS, compute)
