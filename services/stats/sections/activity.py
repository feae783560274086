"""When a user counts as active: what leaves a trace that has its own time.

`users.last_login_at` is overwritten at every login, so it does not say who was there on a day in the past.
"""

from services.stats.days import Days

ACTIVE = "a check-in, a payment or a subscription begun (attendances.checked_in_at, created_at of the other two)"


def span(days: Days) -> dict[str, object]:
    """The values that a query about a run of days asks for."""
    return {"edges": days.edges, "begins_at": days.begins_at, "ends_at": days.ends_at}
