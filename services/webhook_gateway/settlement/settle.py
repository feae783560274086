"""Settles events: parses each, books what is new, and stores the outcome.

All that is written, of one or of many, is one database transaction, so a crash between any two steps leaves nothing or
everything, and settling again finds nothing left to do.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NamedTuple

from services.webhook_gateway.errors import ProviderBusyError, ProviderUnavailableError, UnreadableEventError
from services.webhook_gateway.payments.model import Event
from services.webhook_gateway.payments.payment_state import Stage
from services.webhook_gateway.providers.base import (
    KEY_MODE,
    ConfirmsPayments,
    Mode,
    PaymentNotice,
    Provider,
    Request,
    notice_fault,
)
from services.webhook_gateway.settlement.book_payment_notice import WalletPolicy, book
from services.webhook_gateway.settlement.settlement_store import (
    SettlementKeys,
    SettlementResult,
    SettlementStore,
    retry_on_conflict,
)
from shared.contracts.webhooks import EventState
from shared.runtime.failpoints import failpoint

#: An event whose order or user stays unknown this long will not be settled by waiting. Counted from its first try, not
#: from its arrival: a replay, or an outage of ours, takes nothing from it.
PATIENCE = timedelta(hours=24)
#: Never given up before so many tries, however long they took.
MIN_TRIES = 10
#: The wait after the first vain attempt; it doubles up to the longest.
FIRST_WAIT = timedelta(seconds=5)
MAX_WAIT = timedelta(minutes=15)
#: The longest where nothing is wrong: after an outage many events are put off, and all have to end within minutes.
MAX_WAIT_FOR_A_TURN = timedelta(seconds=30)


class Understood(NamedTuple):
    """An event that is not final, and what it reports; or what becomes of it where it reports nothing."""

    event: Event
    notice: PaymentNotice | SettlementResult


@dataclass(frozen=True, slots=True)
class Settlement:
    """The use case with what it is given: `read` finds an event that is not final, `books` begins a transaction,
    `providers` are the providers by name, and `asks` those of them that can be asked."""

    read: Callable[[int], Event | None]
    books: Callable[[], AbstractContextManager[SettlementStore]]
    providers: Mapping[str, Provider]
    asks: Mapping[str, ConfirmsPayments]
    terms: WalletPolicy
    #: Events of the other mode are quarantined: NOUBA_PAYMENTS_MODE.
    payments_mode: Mode = Mode.LIVE

    def settle(self, event_id: int) -> SettlementResult | None:
        """What became of the event; None where it was settled before. Only faults of our own are raised."""
        understood = self.understand(event_id)
        return None if understood is None else self.book(understood)

    def understand(self, event_id: int) -> "Understood | None":
        """What the event reports, which may mean to ask the provider for seconds; None where it was settled before."""
        event = self.read(event_id)
        return None if event is None else self.read_notice(event)

    def read_notice(self, event: Event) -> "Understood":
        """What an event reports that was read already."""
        return Understood(event, self._understand(event))

    def book(self, understood: "Understood") -> SettlementResult | None:
        """What became of the event, in a transaction of its own."""
        return retry_on_conflict(lambda: self.book_all([understood])[0])

    def book_all(self, batch: Sequence["Understood"]) -> Sequence[SettlementResult | None]:
        """What became of each in one transaction; None where it was settled before, or is in the batch already."""
        with self.books() as books:
            waiting = set(books.claim({event.id for event, _ in batch}, _abouts(batch)))
            failpoint("settlement.after_claim")
            verdicts = []
            for event, notice in batch:
                is_waiting = event.id in waiting
                waiting.discard(event.id)
                verdicts.append(self._book(event, notice, books) if is_waiting else None)
            failpoint("settlement.before_commit")
        failpoint("settlement.after_commit")
        return verdicts

    def postpone(self, event_id: int, reason: str) -> SettlementResult | None:
        """Let the event wait that could not be settled for a fault of our own; the reason must hold no data."""
        event = self.read(event_id)
        if event is None:
            return None
        with self.books() as books:
            return (
                self._conclude(event, SettlementResult(EventState.RECEIVED, reason), books)
                if books.claim([event_id])
                else None
            )

    def _understand(self, event: Event) -> PaymentNotice | SettlementResult:
        """What the event reports, from the provider itself where the event is only a hint; or why that is not known."""
        psp = self.providers.get(event.provider)
        if psp is None:
            return SettlementResult(EventState.RECEIVED, f"provider {event.provider} is switched off: set its secrets")
        try:
            notice = psp.parse(Request(event.method, event.headers, event.body))
            if fault := self._fault(event, notice):
                return SettlementResult(EventState.QUARANTINED, fault)
            if not notice.hint or notice.reference is None:
                return notice
            notice = self.asks[event.provider].ask(notice)
            if fault := self._fault(event, notice):
                return SettlementResult(EventState.QUARANTINED, fault)
        except UnreadableEventError as error:
            return SettlementResult(EventState.QUARANTINED, str(error))
        except ProviderUnavailableError as error:
            return SettlementResult(EventState.RECEIVED, str(error), soon=isinstance(error, ProviderBusyError))
        if notice.reference is not None and notice.stage is Stage.PENDING:
            return SettlementResult(EventState.RECEIVED, "the provider has not decided yet")
        return notice

    def _fault(self, event: Event, notice: PaymentNotice) -> str | None:
        return notice_fault(self.payments_mode, event.headers.get(KEY_MODE), notice, is_accepted=event.accepted)

    def _book(self, event: Event, notice: PaymentNotice | SettlementResult, books: SettlementStore) -> SettlementResult:
        verdict = book(event, notice, books, self.terms) if isinstance(notice, PaymentNotice) else notice
        failpoint("settlement.after_booking")
        return self._conclude(event, verdict, books)

    def _conclude(self, event: Event, verdict: SettlementResult, books: SettlementStore) -> SettlementResult:
        """Write the verdict down. An event that is tried in vain for too long is dead, never dropped."""
        now = self.terms.now()
        if event.accepted and verdict.state is EventState.QUARANTINED:
            verdict = replace(verdict, reason=f"cannot be accepted: {verdict.reason}")
        # who waits for a turn was not tried
        tried_at = None if verdict.soon else now
        if verdict.state is EventState.RECEIVED and tried_at and _is_hopeless(event, tried_at):
            hours = PATIENCE // timedelta(hours=1)
            verdict = SettlementResult(EventState.DEAD, f"waited {hours} hours in vain: {verdict.reason}")
        if verdict.state is EventState.RECEIVED:
            longest = MAX_WAIT_FOR_A_TURN if verdict.soon else MAX_WAIT
            wait = min(longest, FIRST_WAIT * 2 ** min(event.attempts, 10))
            books.park(event.id, verdict.reason, now + wait, tried_at)
        else:
            books.close(event.id, verdict)
        return verdict


def _is_hopeless(event: Event, now: datetime) -> bool:
    return event.tries + 1 >= MIN_TRIES and now - (event.taken_up_at or now) >= PATIENCE


def _abouts(batch: Sequence[Understood]) -> Iterator[SettlementKeys]:
    for event, notice in batch:
        if isinstance(notice, PaymentNotice) and notice.reference is not None:
            yield SettlementKeys(event.provider, notice.reference, notice.order_number, notice.user_id)
        if isinstance(notice, PaymentNotice) and notice.checkout is not None:
            yield SettlementKeys(event.provider, notice.checkout, None, None)
