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
    "Events by state: applied, ignored, quarantined, dead; received means that it waits.",
    ["state"],
)
POLLS = Counter(
    "nouba_reconciliation_polls_total",
    "Polls of a provider for an unfinished payment, by outcome: recorded (news that no webhook had brought), "
    "known (it had been kept before), pending, unknown (the provider knows no such payment), unavailable, limited, "
    "unreadable; given_up counts payments that are not polled any more.",
    ["provider", "outcome"],
)
RECOVERED_PAYMENTS = Counter(
    "nouba_reconciliation_recovered_payments_total",
    "Answers that ended a payment and were stored to be booked: each is a webhook that was lost or is late.",
    ["provider"],
)
POLLS_DUE = Gauge(
    "nouba_reconciliation_due",
    "Unfinished payments whose poll is due.",
    ["provider"],
    multiprocess_mode="livemostrecent",
)
BREAKER_STATE = Gauge(
    "nouba_provider_breaker_state",
    "State of the circuit breaker: 0 closed (polled), 1 half-open (one poll to try), 2 open (not polled).",
    ["provider"],
    multiprocess_mode="livemostrecent",
)
