"""Metrics of the gateway."""

from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Counter(
    "nouba_gateway_requests_total",
    "Webhooks by provider and verdict: accepted, duplicate, quarantined; signature, limited (refused); unavailable, "
    "failed (our fault). Provider none, verdict malformed: not HTTP.",
    ["provider", "verdict"],
)
ACCEPT_SECONDS = Histogram(
    "nouba_gateway_accept_seconds",
    "Time from the whole body to a durable event.",
    ["provider"],
    buckets=(0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
SETTLED = Counter(
    "nouba_settlement_events_total",
    "Events by what became of them: applied, ignored, quarantined, dead; received means that it waits.",
    ["state"],
)
ASKS = Counter(
    "nouba_reconciliation_asks_total",
    "Questions to a provider about an unfinished payment, by what came of it: told (news that no webhook had brought), "
    "known (it had been kept before), pending, unknown (the provider knows no such payment), unavailable, limited, "
    "unreadable; given_up counts payments that are not asked about any more.",
    ["provider", "outcome"],
)
BOOKED_BY_ASKING = Counter(
    "nouba_reconciliation_booked_total",
    "Answers that ended a payment and were kept to be booked: each is a webhook that was lost or is late.",
    ["provider"],
)
ASKS_DUE = Gauge(
    "nouba_reconciliation_due",
    "Unfinished payments whose provider should have been asked by now.",
    ["provider"],
    multiprocess_mode="livemostrecent",
)
BREAKER_STATE = Gauge(
    "nouba_provider_breaker_state",
    "Whether the provider is asked: 0 it is (closed), 1 once to try (half-open), 2 it is left alone (open).",
    ["provider"],
    multiprocess_mode="livemostrecent",
)
