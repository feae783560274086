"""Limits concurrent polls of one provider, so that a slow one does not block the others."""

from collections.abc import Callable
from threading import BoundedSemaphore

from services.webhook_gateway.errors import ProviderBusyError
from services.webhook_gateway.providers.base import ConfirmsPayments, PaymentNotice
from services.webhook_gateway.providers.circuit_breaker import Breaker

#: In one process, a quarter of the threads that it has by default. Anybody can make us ask, since a hint is signed by
#: nobody.
AT_ONCE = 4
#: Of these, questions about orders that nobody has registered: made-up orders leave room for the others.
UNREGISTERED_AT_ONCE = 2


class ConcurrencyLimited:
    """Asks through another, or puts the question off while too many are open or the provider fails."""

    def __init__(
        self,
        asks: ConfirmsPayments,
        breaker: Breaker,
        at_once: int = AT_ONCE,
        *,
        is_registered: Callable[[str], bool] = lambda _: True,
    ) -> None:
        self._asks = asks
        self._breaker = breaker
        self._open = BoundedSemaphore(at_once)
        self._unregistered = BoundedSemaphore(min(at_once, UNREGISTERED_AT_ONCE))
        self._is_registered = is_registered

    def ask(self, notice: PaymentNotice) -> PaymentNotice:
        """What the provider says.

        Raises ProviderUnavailableError, and ProviderBusyError where it is being asked about others.
        """
        if notice.reference is not None and self._is_registered(notice.reference):
            return self._ask(notice)
        if not self._unregistered.acquire(blocking=False):
            raise ProviderBusyError
        try:
            return self._ask(notice)
        finally:
            self._unregistered.release()

    def _ask(self, notice: PaymentNotice) -> PaymentNotice:
        if not self._open.acquire(blocking=False):
            raise ProviderBusyError
        try:
            with self._breaker.watch():
                return self._asks.ask(notice)
        finally:
            self._open.release()
