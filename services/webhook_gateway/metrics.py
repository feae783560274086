"""What the gateway counts; labels are chosen by us, never by a sender."""

from prometheus_client import Counter, Histogram

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
