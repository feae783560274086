"""Settle kept webhooks: understand each, book what is new in it, and say what became of it.

All that is written, of one or of many, is one database transaction, so a crash between any two steps leaves nothing or
everything, and settling again finds nothing left to do.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from services.webhook_gateway.errors import ProviderBusy, ProviderUnavailable, Unreadable
from services.webhook_gateway.payments.booking import Terms, book
from services.webhook_gateway.payments.books import About, Books, State, Verdict, again_if_overtaken
from services.webhook_gateway.payments.payment import Event
from services.webhook_gateway.payments.states import Stage
from services.webhook_gateway.psps.base import KEY_MODE, Asks, Notice, Psp, Request, mode_fault
from shared.runtime.failpoints import failpoint

#: An event whose order or user stays unknown this long will not be settled by waiting.
PATIENCE = timedelta(hours=24)
#: The wait after the first vain attempt; it doubles up to the longest.
FIRST_WAIT = timedelta(seconds=5)
LONGEST_WAIT = timedelta(minutes=15)
#: The longest where nothing is wrong: after an outage many events are put off, and all have to end within minutes.
LONGEST_WAIT_FOR_A_TURN = timedelta(seconds=30)


class Understood(NamedTuple):
    """An event that is not final, and what it tells; or what becomes of it where it tells nothing."""

    event: Event
    told: Notice | Verdict


@dataclass(frozen=True, slots=True)
class Settlement:
    """The use case with what it is given: `read` finds an event that is not final, `books` begins a transaction,
    `psps` are the providers by name, and `asks` those of them that can be asked."""

    read: Callable[[int], Event | None]
    books: Callable[[], AbstractContextManager[Books]]
    psps: Mapping[str, Psp]
    asks: Mapping[str, Asks]
    terms: Terms

    def settle(self, event_id: int) -> Verdict | None:
        """What became of the event; None where it was settled before. Only faults of our own are raised."""
        understood = self.understand(event_id)
        return None if understood is None else self.book(understood)

    def understand(self, event_id: int) -> "Understood | None":
        """What the event tells, which may mean to ask the provider for seconds; None where it was settled before."""
        event = self.read(event_id)
        return None if event is None else Understood(event, self._understand(event))

    def book(self, understood: "Understood") -> Verdict | None:
        """What became of the event, in a transaction of its own."""
        return again_if_overtaken(lambda: self.book_all([understood])[0])

    def book_all(self, batch: Sequence["Understood"]) -> Sequence[Verdict | None]:
        """What became of each in one transaction; None where it was settled before, or is in the batch already."""
        with self.books() as books:
            waiting = set(books.claim({event.id for event, _ in batch}, _abouts(batch)))
            failpoint("settlement.after_claim")
            verdicts = []
            for event, told in batch:
                is_waiting = event.id in waiting
                waiting.discard(event.id)
                verdicts.append(self._book(event, told, books) if is_waiting else None)
            failpoint("settlement.before_commit")
        failpoint("settlement.after_commit")
        return verdicts

    def postpone(self, event_id: int, reason: str) -> Verdict | None:
        """Let the event wait that could not be settled for a fault of our own; the reason must hold no data."""
        event = self.read(event_id)
        if event is None:
            return None
        with self.books() as books:
            return self._conclude(event, Verdict(State.RECEIVED, reason), books) if books.claim([event_id]) else None

    def _understand(self, event: Event) -> Notice | Verdict:
        """What the event tells, from the provider itself where the event is only a hint; or why that is not known."""
        psp = self.psps.get(event.provider)
        if psp is None:
            return Verdict(State.RECEIVED, f"provider {event.provider} is switched off: set its secrets")
        try:
            notice = psp.parse(Request(event.method, event.headers, event.body))
            if fault := mode_fault(event.headers.get(KEY_MODE), notice):
                return Verdict(State.QUARANTINED, fault)
            if not notice.hint or notice.reference is None:
                return notice
            told = self.asks[event.provider].ask(notice)
        except Unreadable as error:
            return Verdict(State.QUARANTINED, str(error))
        except ProviderUnavailable as error:
            return Verdict(State.RECEIVED, str(error), soon=isinstance(error, ProviderBusy))
        if told.reference is not None and told.stage is Stage.PENDING:
            return Verdict(State.RECEIVED, "the provider has not decided yet")
        return told

    def _book(self, event: Event, told: Notice | Verdict, books: Books) -> Verdict:
        verdict = book(event, told, books, self.terms) if isinstance(told, Notice) else told
        failpoint("settlement.after_booking")
        return self._conclude(event, verdict, books)

    def _conclude(self, event: Event, verdict: Verdict, books: Books) -> Verdict:
        """Write the verdict down. An event that waits in vain for too long is dead, never dropped."""
        now = self.terms.now()
        if verdict.state is State.RECEIVED and now - event.received_at >= PATIENCE:
            hours = PATIENCE // timedelta(hours=1)
            verdict = Verdict(State.DEAD, f"waited {hours} hours in vain: {verdict.reason}")
        if verdict.state is State.RECEIVED:
            longest = LONGEST_WAIT_FOR_A_TURN if verdict.soon else LONGEST_WAIT
            wait = min(longest, FIRST_WAIT * 2 ** min(event.attempts, 10))
            books.park(event.id, verdict.reason, now + wait)
        else:
            books.close(event.id, verdict)
        return verdict


def _abouts(batch: Sequence[Understood]) -> Iterator[About]:
    for event, told in batch:
        if isinstance(told, Notice) and told.reference is not None:
            yield About(event.provider, told.reference, told.order_number, told.user_id)
