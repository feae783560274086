"""A circuit breaker for each provider."""

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import structlog
from pybreaker import (
    STATE_CLOSED,
    STATE_HALF_OPEN,
    STATE_OPEN,
    CircuitBreaker,
    CircuitBreakerError,
    CircuitBreakerListener,
)

from services.webhook_gateway.errors import (
    PaymentPendingError,
    PaymentUnknownToProviderError,
    ProviderRateLimitedError,
    ProviderUnavailableError,
    RefundRefusedError,
    UnreadableEventError,
)
from services.webhook_gateway.metrics import BREAKER_STATE

#: So many failures in a row open it.
FAILURES: Final = 5
#: How long it stays open at first; twice as long whenever the one question after it fails too, up to the longest.
FIRST_PAUSE_SECONDS: Final = 30.0
MAX_PAUSE_SECONDS: Final = 600.0

_SHOWN: Final = {STATE_CLOSED: 0, STATE_HALF_OPEN: 1, STATE_OPEN: 2}

log = structlog.get_logger(__name__)


class Breaker:
    """Everything that asks one provider in this process asks through this."""

    def __init__(self, provider: str, *, failures: int = FAILURES, pause_seconds: float = FIRST_PAUSE_SECONDS) -> None:
        self._pause = _Pause(provider, pause_seconds)
        self._circuit = CircuitBreaker(
            fail_max=failures,
            reset_timeout=pause_seconds,
            exclude=[PaymentPendingError, PaymentUnknownToProviderError, RefundRefusedError, UnreadableEventError],
            listeners=[self._pause],
            throw_new_error_on_trip=False,
        )
        BREAKER_STATE.labels(provider).set(_SHOWN[STATE_CLOSED])

    @property
    def is_open(self) -> bool:
        """Whether a question now would be refused."""
        return time.monotonic() < self._pause.over_at

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Ask within this. Raises ProviderUnavailableError, without asking, while the breaker is open."""
        try:
            # not `call`, which would let one thread at a time ask
            with self._circuit.calling():
                yield
        except CircuitBreakerError:
            raise ProviderUnavailableError(
                "The provider failed several times in a row and is left alone now."
            ) from None
        except ProviderRateLimitedError as error:
            self._pause.next_seconds = max(self._pause.next_seconds, error.retry_after_seconds or 0)
            self._circuit.open()
            raise


class _Pause(CircuitBreakerListener):
    """How long the breaker stays open, and where its state is shown."""

    def __init__(self, provider: str, first_seconds: float) -> None:
        self._provider = provider
        self._first_seconds = first_seconds
        self.next_seconds = first_seconds
        self.over_at = 0.0

    def state_change(self, cb: CircuitBreaker, old_state: Any, new_state: Any) -> None:
        BREAKER_STATE.labels(self._provider).set(_SHOWN[new_state.name])
        if new_state.name == STATE_OPEN:
            # a tenth more or less, so that many workers do not come back at once
            pause_seconds = self.next_seconds * random.uniform(0.9, 1.1)  # noqa: S311
            cb.reset_timeout = pause_seconds
            self.over_at = time.monotonic() + pause_seconds
            self.next_seconds = max(self.next_seconds, min(2 * self.next_seconds, MAX_PAUSE_SECONDS))
            log.warning("a provider is left alone", provider=self._provider, seconds=round(pause_seconds))
        elif new_state.name == STATE_CLOSED:
            self.next_seconds = self._first_seconds
            self.over_at = 0.0
            log.info("a provider answers again", provider=self._provider)
