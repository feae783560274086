"""A limit on requests that prove nothing, so that strangers cannot fill the inbox or ask the bank through us."""

from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from services.webhook_gateway.errors import TooManyUnverified

#: The window over which the rate is measured, so that a short burst passes.
WINDOW_SECONDS = 5


class UnverifiedLimit:
    """Counts per provider, in this process alone. Genuine signed requests are never counted."""

    def __init__(self, per_second: int) -> None:
        self._rate = RateLimitItemPerSecond(per_second * WINDOW_SECONDS, WINDOW_SECONDS)
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def count(self, provider: str) -> None:
        """Count one. Raises TooManyUnverified past the limit."""
        if not self._limiter.hit(self._rate, provider):
            raise TooManyUnverified("Too many unverified requests; slow down.")
