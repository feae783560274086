"""Book one notice: find the payment it is about, refuse what does not match, move the money that is new in it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from services.webhook_gateway.payments.books import Books, State, Verdict
from services.webhook_gateway.payments.ledger import payment_moved, subscription_paid, subscription_returned
from services.webhook_gateway.payments.payment import Event, Payment
from services.webhook_gateway.payments.states import Stage, Standing
from services.webhook_gateway.payments.subscriptions import covered, no_longer_covered
from services.webhook_gateway.psps.base import Notice
from shared.runtime.failpoints import failpoint

#: How old a provider's own time of a payment may be to be believed: the longest that providers repeat a webhook.
LATEST_DELIVERY = timedelta(days=3)


@dataclass(frozen=True, slots=True)
class Terms:
    """The school's terms: the currency of its wallets, its zone, and the time now."""

    currency: str
    zone: ZoneInfo
    now: Callable[[], datetime]


def book(event: Event, notice: Notice, books: Books, terms: Terms) -> Verdict:
    """What becomes of `event`: booked, found stale, put aside for an operator, or left to wait (`RECEIVED`)."""
    if notice.reference is None:
        return Verdict(State.IGNORED, f"{notice.kind} says nothing about a payment")
    known = books.find(event.provider, notice.reference, notice.order_number)
    if known is not None and (fault := _mismatch(known, notice, terms)):
        return Verdict(State.QUARANTINED, fault, known.id)
    if known is not None and known.reference in (None, notice.reference):
        before = after = known
    else:
        newcomer = _newcomer(event.provider, notice, known, books, terms)
        if isinstance(newcomer, Verdict):
            return newcomer
        before, after = newcomer, books.open(newcomer)
        failpoint("settlement.after_open")
        # somebody else may have opened it meanwhile, for another amount
        if fault := _mismatch(after, notice, terms):
            return Verdict(State.QUARANTINED, fault, after.id)
    moved = _merge(after, notice, event.received_at)
    if moved == before:
        return Verdict(State.IGNORED, f"nothing new: payment {moved.id} is {moved.status}", moved.id)
    _move_money(event, after, moved, books, terms)
    books.save(moved)
    failpoint("settlement.after_payment")
    books.release(event.provider, notice.reference, terms.now())
    books.announce(moved.id, (moved.completed_at or event.received_at).astimezone(terms.zone).date())
    return Verdict(State.APPLIED, f"payment {moved.id} is {moved.status}", moved.id)


def _newcomer(provider: str, notice: Notice, order: Payment | None, books: Books, terms: Terms) -> Payment | Verdict:
    """A payment that has no row yet, or why it has to wait. A second payment of an `order` is the same user's."""
    user_id = order.user_id if order is not None else notice.user_id
    if user_id is None:
        return Verdict(State.RECEIVED, "no payment has this reference or order number, and no user is named")
    if notice.amount_minor is None:
        return Verdict(State.RECEIVED, "the payment that this is about is not known yet")
    if order is None and books.balance(user_id) is None:
        return Verdict(State.RECEIVED, f"user {user_id} is not known yet")
    newcomer = Payment(
        id=0,
        provider=provider,
        reference=notice.reference,
        order_number=notice.order_number,
        user_id=user_id,
        amount_minor=notice.amount_minor,
        currency=notice.currency or terms.currency,
        standing=Standing(),
    )
    fault = _mismatch(newcomer, notice, terms)
    return Verdict(State.QUARANTINED, fault) if fault else newcomer


def _mismatch(payment: Payment, notice: Notice, terms: Terms) -> str | None:
    """Why `notice` cannot be about `payment`, with both values; None where it can."""
    if payment.currency != terms.currency:
        return f"the school's wallets are in {terms.currency}, the payment is in {payment.currency}"
    if notice.currency is not None and notice.currency != payment.currency:
        return f"registered in {payment.currency}, told {notice.currency}"
    if notice.amount_minor is not None and notice.amount_minor != payment.amount_minor:
        return f"registered {payment.amount_minor} {payment.currency}, told {notice.amount_minor} (minor units)"
    if notice.user_id is not None and notice.user_id != payment.user_id:
        return f"registered for user {payment.user_id}, told user {notice.user_id}"
    if notice.refunded_minor > payment.amount_minor:
        return f"paid {payment.amount_minor}, told {notice.refunded_minor} refunded (minor units)"
    return None


def _merge(payment: Payment, notice: Notice, received_at: datetime) -> Payment:
    """The payment after `notice`; equal to `payment` where there is nothing new."""
    standing = payment.standing.merge(notice.standing)
    completed = standing.stage is Stage.COMPLETED
    completed_at = payment.completed_at
    if completed and completed_at is None:
        told = notice.occurred_at
        completed_at = told if told and received_at - LATEST_DELIVERY <= told <= received_at else received_at
    return replace(
        payment,
        reference=notice.reference,
        standing=standing,
        credited_minor=standing.credit_minor(payment.amount_minor),
        fee_minor=max(payment.fee_minor, notice.fee_minor or 0) if completed else payment.fee_minor,
        method=payment.method or notice.method,
        failure_reason=payment.failure_reason or notice.failure_reason,
        completed_at=completed_at,
    )


def _move_money(event: Event, before: Payment, after: Payment, books: Books, terms: Terms) -> None:
    credit_minor = after.credited_minor - before.credited_minor
    fee_minor = after.fee_minor - before.fee_minor
    if not credit_minor and not fee_minor:
        return
    balance = books.balance(after.user_id)
    assert balance is not None, "payments.user_id is a foreign key"
    moved = payment_moved(
        payment_id=after.id,
        user_id=after.user_id,
        provider=after.provider,
        credit_minor=credit_minor,
        fee_minor=fee_minor,
        currency=after.currency,
    )
    books.post(moved, event.id)
    failpoint("settlement.after_credit")
    if credit_minor > 0:
        _activate(event, after, balance + credit_minor, books, terms)
    elif balance + credit_minor < 0:
        _deactivate(event, after, balance + credit_minor, books)


def _activate(event: Event, payment: Payment, balance: int, books: Books, terms: Terms) -> None:
    for subscription in covered(balance, books.pending_subscriptions(payment.user_id)):
        books.post(subscription_paid(subscription, payment.user_id, payment.currency), event.id)
        books.activate(subscription.id, terms.now())
        failpoint("settlement.after_activation")


def _deactivate(event: Event, payment: Payment, balance: int, books: Books) -> None:
    for subscription in no_longer_covered(balance, books.paid_subscriptions(payment.user_id)):
        books.post(subscription_returned(subscription, payment.user_id, payment.currency), event.id)
        books.deactivate(subscription.id)
