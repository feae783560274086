"""Two counters of the playback service: requests by outcome, and bytes sent."""

from prometheus_client import Counter

REQUESTS = Counter("nouba_playback_requests_total", "Requests of players, by what became of them.", ["outcome"])
BYTES = Counter("nouba_playback_bytes_total", "Bytes of lessons that were sent to players.")
