"""Users: how many, how many new ones and active ones, and who they are."""

from services.stats.days import Days
from services.stats.sections.active_users import ACTIVE, presence
from services.stats.sections.base import (
    FOREVER,
    MetricDefinition,
    Query,
    Rules,
    Section,
    Unit,
    Values,
    breakdown,
    by_bucket,
    keyed,
    running,
)
from services.stats.sections.registered_users import counted

NUMBERS = (
    MetricDefinition("total", Unit.COUNT, "Users registered (created_at) before the day's end.", reach_days=FOREVER),
    MetricDefinition("new", Unit.COUNT, "Users registered in the day.", reach_days=30),
    MetricDefinition("active", Unit.COUNT, f"Users who left a trace in the day: {ACTIVE}.", reach_days=30),
    MetricDefinition("by_role", Unit.COUNT, "Users registered before the day's end.", by="role", observed=True),
    MetricDefinition(
        "by_year", Unit.COUNT, "Users registered before the day's end.", by="year of study", observed=True
    ),
)


def compute(ask: Query, days: Days, rules: Rules) -> Values:
    rows = ask.once(counted, days)
    new = by_bucket(days, ((row.bucket, row.users) for row in rows))
    total = running(new)
    roles = keyed(days, ((row.bucket, row.role, row.users) for row in rows))
    years = keyed(days, ((row.bucket, row.year, row.users) for row in rows))
    roles, years = ({key: running(counts) for key, counts in found.items()} for found in (roles, years))
    came = ask.once(presence, days)
    values: Values = {}
    for bucket, day in enumerate(days, start=1):
        values[day] = {
            "total": total[bucket],
            "new": new[bucket],
            "active": came[day].daily,
            "by_role": breakdown(roles, bucket),
            "by_year": breakdown(years, bucket),
        }
    return values


SECTION = Section("users", NUMBERS, compute, source="users")
