"""Sends requested refunds to their providers, each once; the ledger moves only by what the provider answers.

The answer is kept like a webhook, and settled by the same code. A crash between any two steps leaves a row that is
tried again: a provider with idempotency keys makes one refund of both, and another one is asked first how much is
refunded. Where it does not know, a person has to check, and nothing is sent again.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Protocol

from services.webhook_gateway.errors import ProviderUnavailableError, RefundRefusedError
from services.webhook_gateway.inbox.accept import Inbox, read_entry
from services.webhook_gateway.providers.base import (
    REFUNDED_BEFORE,
    CountsRefunds,
    Mode,
    Provider,
    ProviderReply,
    RefundsPayments,
)
from shared.runtime.failpoints import failpoint

#: A refund whose worker died is tried again after this.
LEASE: Final = timedelta(minutes=2)
FIRST_RETRY: Final = timedelta(seconds=30)
MAX_RETRY: Final = timedelta(minutes=15)
#: Stripe forgets an idempotency key after a day: later, the same request would be another refund.
GIVE_UP_AFTER: Final = timedelta(hours=20)


@dataclass(frozen=True, slots=True, kw_only=True)
class DueRefund:
    """A refund to begin, leased to us. `was_sent` means that an earlier attempt may have reached the provider.

    `refunded_before_minor` is what the provider said was refunded before that attempt, where it could.
    """

    id: int
    payment_id: int
    provider: str
    reference: str
    key: str
    amount_minor: int
    created_at: datetime
    attempts: int
    was_sent: bool
    #: Why the last attempt came to nothing.
    note: str | None
    refunded_before_minor: int | None


class RefundRequests(Protocol):
    """The refunds that operators asked for; many workers share them."""

    def take(self) -> DueRefund | None:
        """The refund that has been due longest, leased for `LEASE`; None where none is due."""
        ...

    def note_sending(self, refund: DueRefund, refunded_before_minor: int | None) -> None:
        """From now on the provider may have it."""
        ...

    def accept(self, refund: DueRefund, event_id: int | None) -> None:
        """The provider has begun it; its answer is event `event_id`."""
        ...

    def refuse(self, refund: DueRefund, reason: str) -> None:
        """The provider will not do it."""
        ...

    def leave_unknown(self, refund: DueRefund, reason: str) -> None:
        """Nobody knows whether the provider has it: a person has to check."""
        ...

    def put_off(self, refund: DueRefund, until: datetime, reason: str) -> None:
        """Try again at `until`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Refunding:
    """The use case with what it is given; `watch` is the provider's circuit breaker, `wake` announces a new event."""

    providers: dict[str, Provider]
    requests: RefundRequests
    inbox: Inbox
    watch: Callable[[str], AbstractContextManager[None]]
    now: Callable[[], datetime]
    wake: Callable[[], None]
    payments_mode: Mode = Mode.LIVE

    def begin_next(self) -> bool:
        """Begin the refund that has been due longest; False where none is due."""
        refund = self.requests.take()
        if refund is None:
            return False
        psp = self.providers.get(refund.provider)
        if self._is_old(refund) and not (refund.was_sent and isinstance(psp, CountsRefunds)):
            self._give_up(refund, refund.note)
            return True
        if not isinstance(psp, RefundsPayments):
            reason = f"{refund.provider} is switched off here, or has no API key: set it in the worker's environment"
            self._try_again(refund, reason)
            return True
        try:
            with self.watch(refund.provider):
                reply = self._begin(psp, refund)
        except RefundRefusedError as error:
            self.requests.refuse(refund, str(error))
        except ProviderUnavailableError as error:
            self._try_again(refund, str(error))
        else:
            if reply is not None:
                self._keep(psp, refund, reply)
        return True

    def _begin(self, psp: RefundsPayments, refund: DueRefund) -> ProviderReply | None:
        """The provider's answer; None where it is not known whether an earlier attempt reached it."""
        before_minor = refund.refunded_before_minor
        if isinstance(psp, CountsRefunds):
            # it makes a refund of every request, so that none is repeated that may have reached it
            counted = psp.refunded_minor(refund.reference)
            if refund.was_sent and (counted is None or before_minor is None or counted != before_minor):
                return self._recover(psp, refund, counted)
            before_minor = counted
        self.requests.note_sending(refund, before_minor)
        failpoint("refunds.after_note")
        reply = psp.refund(refund.reference, refund.amount_minor, refund.key)
        failpoint("refunds.after_answer")
        return _counted(reply, before_minor)

    def _recover(self, psp: CountsRefunds, refund: DueRefund, counted: int | None) -> ProviderReply | None:
        before_minor = refund.refunded_before_minor
        if counted is not None and before_minor is not None and counted == before_minor + refund.amount_minor:
            return _counted(psp.refund_made(refund.reference, refund.amount_minor, refund.key), before_minor)
        reason = f"refunded before it: {before_minor}, now: {counted} (minor units); check the provider's own pages"
        self.requests.leave_unknown(refund, reason)
        return None

    def _keep(self, psp: RefundsPayments, refund: DueRefund, reply: ProviderReply) -> None:
        kept = self.inbox.keep(read_entry(psp, reply.request, reply.proof, self.payments_mode))
        failpoint("refunds.after_keep")
        self.requests.accept(refund, kept.event_id)
        self.wake()

    def _try_again(self, refund: DueRefund, reason: str) -> None:
        if self._is_old(refund):
            self._give_up(refund, reason)
            return
        wait = min(MAX_RETRY, FIRST_RETRY * float(2 ** min(refund.attempts - 1, 12)))
        self.requests.put_off(refund, self.now() + wait, reason)

    def _is_old(self, refund: DueRefund) -> bool:
        return self.now() - refund.created_at >= GIVE_UP_AFTER

    def _give_up(self, refund: DueRefund, reason: str | None) -> None:
        hours = f"not begun within {GIVE_UP_AFTER // timedelta(hours=1)} hours: {reason or 'no worker ran'}"
        if refund.was_sent:
            self.requests.leave_unknown(refund, f"{hours}; check the provider's own pages")
        else:
            self.requests.refuse(refund, hours)


def _counted(reply: ProviderReply, before_minor: int | None) -> ProviderReply:
    """The answer with what was refunded before it, where the provider said so: the total may hold other refunds."""
    if before_minor is None:
        return reply
    headers = {**reply.request.headers, REFUNDED_BEFORE: str(before_minor)}
    return replace(reply, request=replace(reply.request, headers=headers))
