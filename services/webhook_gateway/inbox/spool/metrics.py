"""Metrics of the spool."""

from prometheus_client import Counter, Gauge

SPOOLED = Counter("nouba_gateway_spooled_total", "Webhooks that were kept in the spool, because the database was away.")
DRAINED = Counter(
    "nouba_gateway_drained_total", "Spooled webhooks by what the inbox made of them when it was back.", ["verdict"]
)
SPOOL_EVENTS = Gauge("nouba_gateway_spool_events", "Webhooks in the spool.", multiprocess_mode="livemostrecent")
SPOOL_BYTES = Gauge(
    "nouba_gateway_spool_bytes", "Room that the spool's events take.", multiprocess_mode="livemostrecent"
)
SPOOL_LIMIT_BYTES = Gauge(
    "nouba_gateway_spool_limit_bytes", "Room that the spool has; 0 without a spool.", multiprocess_mode="livemostrecent"
)
SPOOL_REFUSED = Gauge(
    "nouba_gateway_spool_refused_events",
    "Webhooks in the spool that the database would not take; an operator has to look.",
    multiprocess_mode="livemostrecent",
)
SPOOL_OLDEST_AGE_SECONDS = Gauge(
    "nouba_gateway_spool_oldest_age_seconds",
    "Age of the oldest webhook in the spool; 0 when it is empty.",
    multiprocess_mode="livemostrecent",
)
DATABASE_AWAY = Gauge(
    "nouba_gateway_database_away",
    "Whether a process of the gateway finds the database away.",
    multiprocess_mode="livemax",
)
