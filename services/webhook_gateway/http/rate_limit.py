"""A limit on requests that prove nothing, so that strangers cannot fill the inbox or ask the bank through us."""

from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from services.webhook_gateway.errors import TooManyUnverifiedError

#: The window over which the rate is measured, so that a short burst passes.
WINDOW_SECONDS = 5


class UnverifiedRateLimit:
    """Counts per provider, in this process alone. Genuine signed requests are never counted.

    A refusal costs us nothing but the answer; a hint that nobody signed is kept, and makes us ask the provider.
    """

    def __init__(self, refusals_per_second: int, hints_per_second: int) -> None:
        self._refusals = RateLimitItemPerSecond(refusals_per_second * WINDOW_SECONDS, WINDOW_SECONDS)
        self._hints = RateLimitItemPerSecond(hints_per_second * WINDOW_SECONDS, WINDOW_SECONDS)
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def count_refusal(self, provider: str) -> None:
        """Count a request that was not genuine. Raises TooManyUnverified past the limit."""
        self._count(self._refusals, "refusal", provider)

    def count_hint(self, provider: str) -> None:
        """Count a hint. Raises TooManyUnverified past the limit."""
        self._count(self._hints, "hint", provider)

    def _count(self, rate: RateLimitItemPerSecond, kind: str, provider: str) -> None:
        if not self._limiter.hit(rate, kind, provider):
            raise TooManyUnverifiedError("Too many unverified requests; slow down.")
