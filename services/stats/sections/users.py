"""Users: how many, how many new ones and active ones, who they are, and what they hold in their wallets."""

from services.stats.days import ONE_DAY, Days
from services.stats.sections.active_users import presence
from services.stats.sections.activity import ACTIVE
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
    running,
)
from services.stats.sections.ledger import held, movements

NUMBERS = (
    MetricDefinition("total", Unit.COUNT, "Users registered (created_at) before the day's end.", reach_days=FOREVER),
    MetricDefinition("new", Unit.COUNT, "Users registered in the day.", reach_days=30),
    MetricDefinition("active", Unit.COUNT, f"Users who left a trace in the day: {ACTIVE}.", reach_days=30),
    MetricDefinition("by_role", Unit.COUNT, "Users registered before the day's end.", by="role", observed=True),
    MetricDefinition(
        "by_year", Unit.COUNT, "Users registered before the day's end.", by="year of study", observed=True
    ),
    MetricDefinition(
        "balance_total",
        Unit.MINOR,
        "What all wallets hold at the day's end: the sum of their ledger entries booked before it.",
        reach_days=FOREVER,
    ),
    MetricDefinition(
        "balance_mean", Unit.MINOR, "balance_total by total, rounded; left out without users.", reach_days=FOREVER
    ),
)

_USERS = """
SELECT width_bucket(created_at, %(edges)s) AS bucket, role, year_of_study AS year, count(*) AS users FROM users
GROUP BY bucket, role, year
"""


def compute(ask: Query, days: Days, currency: str) -> Values:
    rows = ask(_USERS, edges=days.edges)
    new = by_bucket(days, ((row.bucket, row.users) for row in rows))
    total = running(new)
    roles = keyed(days, ((row.bucket, row.role, row.users) for row in rows))
    years = keyed(days, ((row.bucket, row.year, row.users) for row in rows))
    roles, years = ({key: running(counts) for key, counts in found.items()} for found in (roles, years))
    moved = ask.once(movements, days).wallets
    balance = ask.kept(days.first - ONE_DAY, "users.balance_total")
    balance = held(ask, days.begins_at) if balance is None else balance
    came = ask.once(presence, days)
    values: Values = {}
    for bucket, day in enumerate(days, start=1):
        balance += moved[bucket]
        numbers: dict[str, Value] = {
            "total": total[bucket],
            "new": new[bucket],
            "active": came[day].daily,
            "by_role": breakdown(roles, bucket),
            "by_year": breakdown(years, bucket),
            "balance_total": balance,
        }
        if total[bucket]:
            numbers["balance_mean"] = rounded(balance, total[bucket])
        values[day] = numbers
    return values


SECTION = Section("users", NUMBERS, compute)
