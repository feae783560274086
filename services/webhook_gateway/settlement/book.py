"""Books one notice: finds its payment, checks it, and books the difference."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from services.webhook_gateway.payments.ledger import payment_moved
from services.webhook_gateway.payments.model import Event, Payment
from services.webhook_gateway.payments.payment_state import PaymentState, Stage
from services.webhook_gateway.providers.base import PaymentNotice
from services.webhook_gateway.settlement.unit_of_work import SettlementResult, SettlementStore
from services.webhook_gateway.settlement.wallets import pay_subscriptions, return_subscriptions
from shared.contracts.webhooks import EventState
from shared.runtime.failpoints import failpoint

#: How old a provider's own time of a payment may be to be believed: the longest that providers repeat a webhook.
LATEST_DELIVERY = timedelta(days=3)


@dataclass(frozen=True, slots=True)
class WalletPolicy:
    """The school's terms: the currency of its wallets, its zone, and the time now."""

    currency: str
    zone: ZoneInfo
    now: Callable[[], datetime]


def book(event: Event, notice: PaymentNotice, books: SettlementStore, terms: WalletPolicy) -> SettlementResult:
    """What becomes of `event`: booked, found stale, put aside for an operator, or left to wait (`RECEIVED`)."""
    if notice.reference is None:
        return SettlementResult(
            EventState.IGNORED, notice.failure_reason or f"{notice.kind} says nothing about a payment"
        )
    found = known = books.find(event.provider, notice.reference, notice.order_number)
    if known is not None and event.accepted:
        known = _corrected(known, notice)
    if known is not None and (fault := _mismatch(known, notice, terms)):
        return SettlementResult(EventState.QUARANTINED, fault, known.id)
    if found is not None and known is not None and known.reference in (None, notice.reference):
        before, after = found, known
    else:
        newcomer = _newcomer(event.provider, notice, known, terms)
        if isinstance(newcomer, SettlementResult):
            return newcomer
        opened = books.open(newcomer)
        failpoint("settlement.after_open")
        if opened is None:
            return SettlementResult(EventState.RECEIVED, f"user {newcomer.user_id} is not known yet")
        before, after = newcomer, opened
        # somebody else may have opened it meanwhile, for another amount
        if fault := _mismatch(after, notice, terms):
            return SettlementResult(EventState.QUARANTINED, fault, after.id)
    if notice.refunded_minor and notice.stage is not Stage.COMPLETED and not after.amount_is_final:
        return SettlementResult(EventState.RECEIVED, "how much was paid is not known yet", after.id)
    moved = _merge(after, notice, event.received_at)
    if moved == before:
        return SettlementResult(EventState.IGNORED, f"nothing new: payment {moved.id} is {moved.status}", moved.id)
    _move_money(event, after, moved, books, terms)
    books.save(moved)
    failpoint("settlement.after_payment")
    books.release(event.provider, notice.reference, terms.now())
    for day in _days(event, after, moved, terms):
        books.announce(moved.id, day)
    return SettlementResult(EventState.APPLIED, f"payment {moved.id} is {moved.status}", moved.id)


def _corrected(payment: Payment, notice: PaymentNotice) -> Payment:
    """The payment with the amount that was collected in place of the registered one, as an operator has accepted."""
    if notice.stage is not Stage.COMPLETED or notice.amount_minor is None:
        return payment
    return replace(payment, amount_minor=notice.amount_minor)


def _newcomer(
    provider: str, notice: PaymentNotice, order: Payment | None, terms: WalletPolicy
) -> Payment | SettlementResult:
    """A payment that has no row yet, or why it has to wait. A second payment of an `order` is for what the first is."""
    user_id = order.user_id if order is not None else notice.user_id
    amount_minor = order.amount_minor if order is not None else notice.amount_minor
    if user_id is None:
        return SettlementResult(
            EventState.RECEIVED, "no payment has this reference or order number, and no user is named"
        )
    if amount_minor is None:
        return SettlementResult(EventState.RECEIVED, "the payment that this is about is not known yet")
    newcomer = Payment(
        id=0,
        provider=provider,
        reference=notice.reference,
        order_number=notice.order_number,
        user_id=user_id,
        amount_minor=amount_minor,
        amount_is_final=order is not None or notice.stage is Stage.COMPLETED,
        currency=notice.currency or terms.currency,
        standing=PaymentState(),
    )
    fault = _mismatch(newcomer, notice, terms)
    return SettlementResult(EventState.QUARANTINED, fault) if fault else newcomer


def _mismatch(payment: Payment, notice: PaymentNotice, terms: WalletPolicy) -> str | None:
    """Why `notice` cannot be about `payment`, with both values; None where it can."""
    if payment.currency != terms.currency:
        return f"the school's wallets are in {terms.currency}, the payment is in {payment.currency}"
    if notice.currency is not None and notice.currency != payment.currency:
        return f"registered in {payment.currency}, told {notice.currency}"
    # a hold or a failed attempt may be for another amount: it moves no money
    is_collected = notice.stage is Stage.COMPLETED and payment.amount_is_final
    if is_collected and notice.amount_minor not in (None, payment.amount_minor):
        return f"registered {payment.amount_minor} {payment.currency}, told {notice.amount_minor} (minor units)"
    if notice.user_id is not None and notice.user_id != payment.user_id:
        return f"registered for user {payment.user_id}, told user {notice.user_id}"
    if payment.amount_is_final and notice.refunded_minor > payment.amount_minor:
        return f"paid {payment.amount_minor}, told {notice.refunded_minor} refunded (minor units)"
    return None


def _merge(payment: Payment, notice: PaymentNotice, received_at: datetime) -> Payment:
    """The payment after `notice`; equal to `payment` where there is nothing new.

    Every field takes the larger (or earlier) of what is known and what is told, so that the order of events is no
    matter. Only the news that money was collected tells when that was, how it came and what it cost.
    """
    standing = payment.standing.merge(notice.standing)
    amount_minor = payment.amount_minor
    if not payment.amount_is_final and notice.amount_minor is not None:
        is_collected = notice.stage is Stage.COMPLETED
        amount_minor = notice.amount_minor if is_collected else max(amount_minor, notice.amount_minor)
    moved = replace(
        payment,
        amount_minor=amount_minor,
        amount_is_final=payment.amount_is_final or notice.stage is Stage.COMPLETED,
        reference=notice.reference,
        order_number=payment.order_number or notice.order_number,
        standing=standing,
        credited_minor=standing.credit_minor(amount_minor),
        failure_reason=_failure_reason(payment, notice),
    )
    if notice.stage is not Stage.COMPLETED:
        return moved
    completed_at = _completed_at(notice, received_at)
    return replace(
        moved,
        fee_minor=max(payment.fee_minor, notice.fee_minor or 0),
        method=max(payment.method or "", notice.method or "") or None,
        completed_at=min(payment.completed_at or completed_at, completed_at),
    )


def _failure_reason(payment: Payment, notice: PaymentNotice) -> str | None:
    """The reason that belongs to where the payment stands: a completed one has none, a disputed one the dispute's."""
    known = (_rank(payment.standing), payment.failure_reason or "")
    told = (_rank(notice.standing), notice.failure_reason or "")
    return max(known, told)[1] or None


def _rank(standing: PaymentState) -> tuple[bool, int]:
    return (True, standing.dispute) if standing.dispute else (False, standing.stage)


def _completed_at(notice: PaymentNotice, received_at: datetime) -> datetime:
    """The provider's own time where it can be believed."""
    told = notice.occurred_at
    return told if told and received_at - LATEST_DELIVERY <= told <= received_at else received_at


def _days(event: Event, before: Payment, after: Payment, terms: WalletPolicy) -> list[date]:
    """The days whose numbers changed: two where an earlier time of completion came to light."""
    instants = [at for at in (before.completed_at, after.completed_at) if at] or [event.received_at]
    return sorted({at.astimezone(terms.zone).date() for at in instants})


def _move_money(event: Event, before: Payment, after: Payment, books: SettlementStore, terms: WalletPolicy) -> None:
    if after.standing.stage is not Stage.COMPLETED:
        return
    balance_before = books.balance(after.user_id)
    credit_minor = after.credited_minor - before.credited_minor
    fee_minor = after.fee_minor - before.fee_minor
    if credit_minor or fee_minor:
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
    # also where no money moved: what is free, or has become due since, must not depend on which news came first
    balance = balance_before + credit_minor
    if balance < 0:
        return_subscriptions(after.user_id, balance, after.currency, books, event.id)
    else:
        pay_subscriptions(after.user_id, balance, after.currency, books, terms.now(), event.id)
