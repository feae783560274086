"""Polls a provider about a pending payment, and stores its answer like a webhook.

What is kept is settled like every other event, so there is one way to book; a webhook that comes late finds nothing
left to do. A crash between any two steps only means that the provider is asked again: the answer has a key of its own,
and is kept once.
"""

import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Protocol

from services.webhook_gateway.errors import ProviderRateLimitedError, ProviderUnavailableError, UnreadableEventError
from services.webhook_gateway.inbox.accept import Inbox, read_entry
from services.webhook_gateway.payments.objects import DisputeState, RefundState
from services.webhook_gateway.payments.payment_state import Stage
from services.webhook_gateway.providers.base import Mode, PaymentNotice, PollsPayments, ProviderReply
from shared.contracts.webhooks import EventState
from shared.runtime.failpoints import failpoint

#: A question not answered by then was lost with its worker; another asks again. Longer than any question takes.
LEASE: Final = timedelta(minutes=2)
#: The ages at which a young payment is asked about. SATIM cancels what nobody confirms (after twenty minutes, as far as
#: is known), and asking confirms.
EARLY: Final = tuple(timedelta(minutes=minutes) for minutes in (2, 5, 10, 15, 19))
#: Later the wait is a part of the payment's age: at 24, 30, 37, 46 minutes ... then every six hours.
PART_OF_AGE: Final = 4
MAX_WAIT: Final = timedelta(hours=6)
#: Nobody is asked about an older payment, except by hand.
GIVE_UP_AFTER: Final = timedelta(days=3)
#: The ages, since it was collected, at which a payment is asked about again: its fee is known an hour later at most.
FOLLOW_UPS: Final = (timedelta(minutes=2), timedelta(hours=1), timedelta(days=1), timedelta(days=3))
#: While a refund or a dispute is open.
FOLLOW_UP_EVERY: Final = timedelta(days=1)
FOLLOW_UP_UNTIL: Final = timedelta(days=60)
#: The wait after a first failure; it doubles with each question, but never goes beyond the next planned one.
FIRST_RETRY: Final = timedelta(seconds=30)


class Outcome(StrEnum):
    """What came of one question."""

    RECORDED = "recorded"
    KNOWN = "known"
    PENDING = "pending"
    UNKNOWN = "unknown"
    UNREADABLE = "unreadable"
    UNAVAILABLE = "unavailable"
    LIMITED = "limited"


@dataclass(frozen=True, slots=True)
class Due:
    """A payment to ask about, leased to us. `asks` counts the questions so far, this one among them."""

    payment_id: int
    reference: str
    created_at: datetime
    asks: int
    #: When it was collected: then it is asked about for its fee, its refunds and its disputes.
    completed_at: datetime | None = None


class PollSchedule(Protocol):
    """When each unfinished payment is asked about; many workers share it."""

    def take(self, provider: str) -> Due | None:
        """The payment that has been due longest, leased for `LEASE`; None where none is due."""
        ...

    def put_off(self, due: Due, until: datetime | None) -> None:
        """Ask again at `until`, or never; nothing where the lease ran out and somebody else has asked since."""
        ...


class CircuitBreaker(Protocol):
    """Leaves a provider alone that fails again and again."""

    @property
    def is_open(self) -> bool:
        """Whether a question now would be refused."""
        ...

    def watch(self) -> AbstractContextManager[None]:
        """Ask within this. Raises ProviderUnavailableError while the provider is left alone."""
        ...


class ReconciliationMetrics(Protocol):
    """Where questions are counted."""

    def count(self, provider: str, outcome: Outcome, *, has_ended: bool, is_given_up: bool) -> None:
        """One question came to `outcome`; it ended the payment, or it was the last that is asked about it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """The use case with what it is given, for one provider; `wake` is called when an answer was kept."""

    psp: PollsPayments
    breaker: CircuitBreaker
    schedule: PollSchedule
    inbox: Inbox
    tally: ReconciliationMetrics
    now: Callable[[], datetime]
    wake: Callable[[], None]
    jitter: Callable[[], float] = random.random
    payments_mode: Mode = Mode.LIVE
    #: Ask about payments that are collected, too: the answers have fees, refunds and disputes.
    follows_up: bool = False

    def ask_next(self) -> Outcome | None:
        """Ask about the payment that has been due longest; None where none is due, or the provider is left alone."""
        if self.breaker.is_open:
            return None
        due = self.schedule.take(self.psp.name)
        return None if due is None else self.ask(due)

    def ask(self, due: Due) -> Outcome:
        """Ask about a payment that is leased to us, and keep what is new in the answer."""
        failpoint("reconcile.after_take")
        try:
            with self.breaker.watch():
                reply = self.psp.enquire(due.reference)
        except ProviderRateLimitedError:
            outcome, notice = Outcome.LIMITED, None
        except ProviderUnavailableError:
            outcome, notice = Outcome.UNAVAILABLE, None
        else:
            failpoint("reconcile.after_answer")
            outcome, notice = (Outcome.UNKNOWN, None) if reply is None else self._keep(reply)
            failpoint("reconcile.after_keep")
        # a hold can still become a payment
        has_ended = notice is not None and notice.stage is not Stage.AUTHORIZED
        planned = self._plan(due, outcome, notice, has_ended=has_ended)
        self.schedule.put_off(due, planned)
        is_given_up = planned is None and not has_ended and due.completed_at is None
        self.tally.count(self.psp.name, outcome, has_ended=has_ended, is_given_up=is_given_up)
        return outcome

    def _keep(self, reply: ProviderReply) -> tuple[Outcome, PaymentNotice | None]:
        """What the answer comes to, and what it reports where it reports more than that the payment is pending."""
        try:
            notice = self.psp.parse(reply.request)
        except UnreadableEventError:
            notice = None  # kept for an operator all the same
        if notice is not None and notice.stage is Stage.PENDING:
            return Outcome.PENDING, None
        entry = read_entry(self.psp, reply.request, reply.proof, self.payments_mode)
        kept = self.inbox.keep(entry)
        if entry.state is EventState.QUARANTINED:
            return Outcome.UNREADABLE, None
        if kept.is_new:
            self.wake()
        return Outcome.RECORDED if kept.is_new else Outcome.KNOWN, notice

    def _plan(self, due: Due, outcome: Outcome, notice: PaymentNotice | None, *, has_ended: bool) -> datetime | None:
        now = self.now()
        has_failed = outcome in (Outcome.UNAVAILABLE, Outcome.LIMITED)
        is_open = has_failed or (notice is not None and _is_open(notice))
        is_collected = has_ended and notice is not None and notice.stage is Stage.COMPLETED
        if due.completed_at is not None or (is_collected and self.follows_up):
            planned = next_follow_up(due.completed_at or now, now, is_open=is_open)
        elif has_ended:
            return None
        else:
            planned = next_ask(due.created_at, now, self.jitter())
        if planned is None or not has_failed:
            return planned
        wait = FIRST_RETRY * float(2 ** min(due.asks - 1, 12)) * (1 + self.jitter() / 10)
        return min(planned, now + wait)


def next_follow_up(completed_at: datetime, now: datetime, *, is_open: bool) -> datetime | None:
    """When a payment that is collected is asked about after `now`; None where no more is expected.

    `is_open` means that a refund or a dispute of it is not decided, or that nobody knows.
    """
    age = now - completed_at
    following = next((one for one in FOLLOW_UPS if one > age), None)
    if following is not None:
        return completed_at + following
    return now + FOLLOW_UP_EVERY if is_open and age < FOLLOW_UP_UNTIL else None


def _is_open(notice: PaymentNotice) -> bool:
    return any(one.state is RefundState.PENDING for one in notice.refunds) or any(
        one.state in (DisputeState.INQUIRY, DisputeState.OPEN) for one in notice.disputes
    )


def next_ask(created_at: datetime, now: datetime, jitter: float) -> datetime | None:
    """When a payment is asked about after `now`; None where it is too old.

    `jitter`, from 0 to 1, only makes the wait shorter, by a tenth at most: no deadline of the provider's is missed.
    """
    age = now - created_at
    if age >= GIVE_UP_AFTER:
        return None
    following = next((early for early in EARLY if early > age), None)
    wait = following - age if following else min(age / PART_OF_AGE, MAX_WAIT)
    return now + wait * (1 - jitter / 10)
