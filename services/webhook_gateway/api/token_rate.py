"""Rate limit of each API token, and the headers that show what is left.

The headers are those of draft-ietf-httpapi-ratelimit-headers-10. Each process counts alone.
"""

import math
import time

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from services.webhook_gateway.errors import TooManyRequestsError

POLICY = "token"
WINDOW_SECONDS = 60


class TokenRate:
    """Requests a minute and token."""

    def __init__(self, requests_per_minute: int) -> None:
        self._item = RateLimitItemPerMinute(requests_per_minute)
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._policy = f'"{POLICY}";q={requests_per_minute};w={WINDOW_SECONDS}'

    def count(self, token_id: str) -> dict[str, str]:
        """Count a request; the headers of its answer. Raises TooManyRequestsError past the limit."""
        is_within = self._limiter.hit(self._item, token_id)
        window = self._limiter.get_window_stats(self._item, token_id)
        seconds = max(1, math.ceil(window.reset_time - time.time()))
        headers = {"RateLimit-Policy": self._policy, "RateLimit": f'"{POLICY}";r={window.remaining};t={seconds}'}
        if not is_within:
            raise TooManyRequestsError(seconds, headers)
        return headers
