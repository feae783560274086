"""Response headers of a document."""

from services.stats.api.cache_refresher import UNAVAILABLE_SECONDS
from services.stats.api.cached_response import CachedResponse
from services.stats.api.openapi import POLICY
from services.stats.api.snapshot_cache import Day

#: A new version comes a few times a day at most; a reader who is a minute behind is not misled.
CACHE_CONTROL = "private, max-age=60, stale-while-revalidate=86400"
#: On every answer that does not say more.
ALWAYS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def headers_of(document: CachedResponse, zipped: bool, day: Day | None, silent_seconds: float) -> dict[str, str]:
    """Of `document`, zipped or plain, whether it is sent or the reader has it; `day` is what it describes."""
    headers = {"ETag": document.tag(zipped), "Cache-Control": CACHE_CONTROL, "Vary": "Accept-Encoding"}
    if day is not None:
        headers["Nouba-Day"] = day.day.isoformat()
        headers["Nouba-Version"] = str(day.version)
        headers["Nouba-Computed-At"] = day.computed_at.isoformat(timespec="seconds")
    if silent_seconds > UNAVAILABLE_SECONDS:
        headers["Nouba-Stale-Seconds"] = str(int(silent_seconds))
    return headers
