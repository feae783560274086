"""Asks a provider about few payments at once, so that a slow one does not hold the threads that book the others'."""

from threading import BoundedSemaphore

from services.webhook_gateway.errors import ProviderBusyError
from services.webhook_gateway.providers.base import ConfirmsPayments, PaymentNotice
from services.webhook_gateway.providers.circuit_breaker import Breaker

#: In one process, a quarter of the threads that it has by default. Anybody can make us ask, since a hint is signed by
#: nobody.
AT_ONCE = 4


class ConcurrencyLimited:
    """Asks through another, or puts the question off while too many are open or the provider fails."""

    def __init__(self, asks: ConfirmsPayments, breaker: Breaker, at_once: int = AT_ONCE) -> None:
        self._asks = asks
        self._breaker = breaker
        self._open = BoundedSemaphore(at_once)

    def ask(self, notice: PaymentNotice) -> PaymentNotice:
        """What the provider says. Raises ProviderUnavailable, and ProviderBusy where it is being asked about others."""
        if not self._open.acquire(blocking=False):
            raise ProviderBusyError
        try:
            with self._breaker.watch():
                return self._asks.ask(notice)
        finally:
            self._open.release()
