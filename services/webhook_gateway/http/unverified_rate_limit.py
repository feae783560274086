"""Rate limits of unverified requests: refusals by provider, unsigned hints by order and client."""

from collections.abc import Callable

from limits import RateLimitItemPerMinute, RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from services.webhook_gateway.errors import TooManyUnverifiedError

#: The window over which the rate is measured, so that a short burst passes.
WINDOW_SECONDS = 5
#: Hints about one order; a payer who reloads the page and a bank that repeats a callback send fewer.
HINTS_PER_ORDER_A_MINUTE = 6
#: One client gets at most this share of the budget that all clients have together.
CLIENT_SHARE = 2


class UnverifiedRateLimit:
    """Counts in this process alone. Genuine signed requests are never counted.

    Refusals are counted per provider: each costs us nothing but the answer. A hint that nobody signed is kept, and
    makes us ask the provider. Hints about payments that the school has registered have a budget per order, so a flood
    about made-up orders takes nothing from them; all others share one budget, of which a client gets half at most.
    """

    def __init__(
        self,
        refusals_per_second: int,
        hints_per_second: int,
        is_registered: Callable[[str, str], bool] = lambda _provider, _reference: False,
    ) -> None:
        self._refusals = RateLimitItemPerSecond(refusals_per_second * WINDOW_SECONDS, WINDOW_SECONDS)
        self._hints = RateLimitItemPerSecond(hints_per_second * WINDOW_SECONDS, WINDOW_SECONDS)
        of_one = max(1, hints_per_second * WINDOW_SECONDS // CLIENT_SHARE)
        self._client_hints = RateLimitItemPerSecond(of_one, WINDOW_SECONDS)
        self._order_hints = RateLimitItemPerMinute(HINTS_PER_ORDER_A_MINUTE)
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._is_registered = is_registered

    def count_refusal(self, provider: str) -> None:
        """Count a request that was not genuine. Raises TooManyUnverifiedError past the limit."""
        self._count(self._refusals, "refusal", provider)

    def count_hint(self, provider: str, reference: str | None, client: str) -> None:
        """Count a hint about the order `reference`. Raises TooManyUnverifiedError past one of the limits."""
        if reference is None or not self._is_registered(provider, reference):
            if client:
                self._count(self._client_hints, "client", client)
            self._count(self._hints, "hint", provider)
        if reference is not None:
            # last, so that made-up orders take no more memory than the budget lets in
            self._count(self._order_hints, "order", provider, reference)

    def _count(self, rate: RateLimitItemPerSecond | RateLimitItemPerMinute, *what: str) -> None:
        if not self._limiter.hit(rate, *what):
            raise TooManyUnverifiedError("Too many unverified requests; slow down.")
