"""Section `platform`: how many webhooks came and how they ended, and how many messages became dead letters."""

from services.stats.days import Days
from services.stats.sections.base import (
    MetricDefinition,
    Query,
    Rules,
    Section,
    Unit,
    Values,
    breakdown,
    by_bucket,
    keyed,
    span,
)

NUMBERS = (
    MetricDefinition("webhooks", Unit.COUNT, "Webhooks kept (received_at) in the day."),
    MetricDefinition("webhooks_by_provider", Unit.COUNT, "Webhooks kept in the day.", by="provider"),
    MetricDefinition(
        "webhooks_unsigned", Unit.COUNT, "Webhooks kept in the day that prove nothing; the provider was asked."
    ),
    MetricDefinition(
        "jobs_done", Unit.COUNT, "Webhooks settled (processed_at) in the day: booked, or with nothing new."
    ),
    MetricDefinition("jobs_quarantined", Unit.COUNT, "Webhooks put aside for an operator in the day."),
    MetricDefinition("jobs_dead", Unit.COUNT, "Webhooks given up in the day."),
    MetricDefinition(
        "jobs_retried", Unit.COUNT, "How often the webhooks finished in the day had to wait and try again."
    ),
    MetricDefinition(
        "messages_dead", Unit.COUNT, "Messages that were given up (died_at) in the day.", by="queue", observed=True
    ),
)

_RECEIVED = """
SELECT width_bucket(received_at, %(edges)s) AS bucket, provider, count(*) AS webhooks,
       count(*) FILTER (WHERE NOT signed) AS unsigned
FROM webhook_events WHERE received_at >= %(begins_at)s AND received_at < %(ends_at)s
GROUP BY bucket, provider
"""

_FINISHED = """
SELECT width_bucket(processed_at, %(edges)s) AS bucket, sum(attempts)::bigint AS retried,
       count(*) FILTER (WHERE state IN ('applied', 'ignored')) AS done,
       count(*) FILTER (WHERE state = 'quarantined') AS quarantined,
       count(*) FILTER (WHERE state = 'dead') AS dead
FROM webhook_events WHERE processed_at >= %(begins_at)s AND processed_at < %(ends_at)s AND state <> 'received'
GROUP BY bucket
"""

# One that dies again after a replay has its newest death only, so this is known at the day's end.
_DEAD = """
SELECT width_bucket(died_at, %(edges)s) AS bucket, queue, count(*) AS messages FROM dead_letter_times
WHERE died_at >= %(begins_at)s AND died_at < %(ends_at)s GROUP BY bucket, queue
"""


def compute(ask: Query, days: Days, rules: Rules) -> Values:
    received = ask(_RECEIVED, **span(days))
    providers = keyed(days, ((row.bucket, row.provider, row.webhooks) for row in received))
    unsigned = by_bucket(days, ((row.bucket, row.unsigned) for row in received))
    finished = {row.bucket: row for row in ask(_FINISHED, **span(days))}
    queues = keyed(days, ((row.bucket, row.queue, row.messages) for row in ask(_DEAD, **span(days))))
    return {
        day: {
            "webhooks": sum(counts[bucket] for counts in providers.values()),
            "webhooks_by_provider": breakdown(providers, bucket),
            "webhooks_unsigned": unsigned[bucket],
            **{
                f"jobs_{name}": getattr(finished[bucket], name) if bucket in finished else 0
                for name in ("done", "quarantined", "dead", "retried")
            },
            "messages_dead": breakdown(queues, bucket),
        }
        for bucket, day in enumerate(days, start=1)
    }


SECTION = Section("platform", NUMBERS, compute, weight=2, source="webhook_events, dead_letters")
