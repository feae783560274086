"""When a user counts as active: what leaves a trace that has its own time.

`users.last_login_at` is overwritten at every login, so it does not say who was there on a day in the past.
"""

from services.stats.days import Days

ACTIVE = "a check-in, a payment or a subscription begun (attendances.checked_in_at, created_at of the other two)"

#: (at, user_id) of every trace in the span.
TRACES = """
SELECT checked_in_at AS at, user_id FROM attendances
WHERE checked_in_at >= %(begins_at)s AND checked_in_at < %(ends_at)s
UNION ALL
SELECT created_at, user_id FROM payments WHERE created_at >= %(begins_at)s AND created_at < %(ends_at)s
UNION ALL
SELECT created_at, user_id FROM subscriptions WHERE created_at >= %(begins_at)s AND created_at < %(ends_at)s
"""

#: The beginning of a query over `active` (bucket, user_id), each pair once.
WITH_ACTIVE = f"""
WITH active AS (SELECT DISTINCT width_bucket(at, %(edges)s) AS bucket, user_id FROM ({TRACES}) AS trace)
"""  # noqa: S608


def span(days: Days) -> dict[str, object]:
    """The values that a query about a run of days asks for."""
    return {"edges": days.edges, "begins_at": days.begins_at, "ends_at": days.ends_at}
