"""Metrics of events out."""

from prometheus_client import Counter, Gauge, Histogram

DELIVERIES = Counter(
    "nouba_event_deliveries_total",
    "Attempts to deliver an event, by what came of them: delivered, failed (tried again), given_up.",
    ["outcome"],
)
POST_SECONDS = Histogram(
    "nouba_event_post_seconds",
    "Time an endpoint took to answer, or to fail.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
DELAY_SECONDS = Histogram(
    "nouba_event_delay_seconds",
    "Time from an event to its delivery, where the first attempt succeeded.",
    buckets=(0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 1800),
)
DISABLED = Counter("nouba_event_endpoints_disabled_total", "Endpoints disabled by the worker, by reason.", ["reason"])
ENDPOINTS = Gauge(
    "nouba_event_endpoints",
    "Endpoints by state: healthy, failing (its last attempt failed), disabled.",
    ["state"],
    multiprocess_mode="livemostrecent",
)
WAITING = Gauge(
    "nouba_event_deliveries_waiting",
    "Deliveries that are not delivered yet, of endpoints that are enabled.",
    multiprocess_mode="livemostrecent",
)
OLDEST_SECONDS = Gauge(
    "nouba_event_oldest_undelivered_seconds",
    "Age of the oldest event that waits for its first attempt at an endpoint that does not fail; 0 for none.",
    multiprocess_mode="livemostrecent",
)
