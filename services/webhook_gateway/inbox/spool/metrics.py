"""Metrics of the spool."""

from prometheus_client import Counter, Gauge

SPOOLED = Counter(
    "nouba_gateway_spool_written_total", "Webhooks that were written to the spool while the database was unavailable."
)
DRAINED = Counter("nouba_gateway_spool_drained_total", "Spooled webhooks by what the inbox made of them.", ["verdict"])
SPOOL_EVENTS = Gauge("nouba_gateway_spool_events", "Webhooks in the spool.", multiprocess_mode="livemostrecent")
SPOOL_BYTES = Gauge(
    "nouba_gateway_spool_bytes", "Room that the spool's events take.", multiprocess_mode="livemostrecent"
)
SPOOL_LIMIT_BYTES = Gauge(
    "nouba_gateway_spool_limit_bytes", "Room that the spool has; 0 without a spool.", multiprocess_mode="livemostrecent"
)
SPOOL_REFUSED = Gauge(
    "nouba_gateway_spool_refused_events",
    "Webhooks in the spool that the database would not take; an operator has to decide.",
    multiprocess_mode="livemostrecent",
)
SPOOL_OLDEST_AGE_SECONDS = Gauge(
    "nouba_gateway_spool_oldest_age_seconds",
    "Age of the oldest webhook in the spool; 0 when it is empty.",
    multiprocess_mode="livemostrecent",
)
DATABASE_UNAVAILABLE = Gauge(
    "nouba_gateway_database_unavailable",
    "1 while a process of the gateway finds the database unavailable.",
    multiprocess_mode="livemax",
)
