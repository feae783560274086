"""Books one payment notice: finds its payment, checks it, and posts the difference to the ledger."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from services.webhook_gateway.payments.model import Event, Link, Payment
from services.webhook_gateway.payments.objects import DisputeState, FeeKind
from services.webhook_gateway.payments.payment_state import PaymentState, Stage
from services.webhook_gateway.payments.posting_rules import Money, transactions
from services.webhook_gateway.providers.base import PaymentNotice
from services.webhook_gateway.settlement.settlement_store import SettlementResult, SettlementStore
from services.webhook_gateway.settlement.subscription_activation import pay_subscriptions
from shared.contracts.webhooks import EventState
from shared.runtime.failpoints import failpoint

#: Stands for a time that nobody reported: older than any that is.
_NEVER = datetime.min.replace(tzinfo=UTC)

#: How often an event waits for the event of a checkout that may be its own: half a minute.
CHECKOUT_TRIES = 3
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
    reference = notice.reference or _registered_checkout(event.provider, notice, books)
    if reference is None:
        return _book_payer(event, notice, books, terms)
    if reference != notice.reference:
        notice = replace(notice, reference=reference)
    known = _find(event.provider, notice, books)
    if known is None and notice.user_id is None and notice.payers:
        users = _payer(event.provider, notice, books)
        if len(users) > 1:
            return SettlementResult(EventState.QUARANTINED, _several(users))
        notice = replace(notice, user_id=users[0] if users else None)
    found = known
    if known is not None and event.accepted:
        known = _corrected(known, notice)
    if known is not None and (fault := _mismatch(known, notice, terms, is_accepted=event.accepted)):
        return SettlementResult(EventState.QUARANTINED, fault, known.id)
    if found is not None and known is not None and known.reference in _references(notice):
        before, after = found, known
    else:
        opened = _open(event, notice, known, books, terms)
        if isinstance(opened, SettlementResult):
            return opened
        before, after = opened
    if notice.refunded_minor and notice.stage is not Stage.COMPLETED and not after.amount_is_final:
        return SettlementResult(EventState.RECEIVED, "how much was paid is not known yet", after.id)
    moved = _merge(after, notice, event.received_at)
    if not event.accepted and (excess := _excess(moved, notice)):
        return SettlementResult(EventState.RECEIVED, excess, after.id)
    _keep_links(event.provider, notice, moved.user_id, books)
    moved = _close_checkout(event.provider, notice, moved, books)
    if _is_repetition(before, moved):
        if moved != before:
            books.save(moved)
        reason = f"nothing new: payment {moved.id} is {moved.status}"
        return SettlementResult(EventState.IGNORED, reason + _unbooked(notice), moved.id)
    applied = _apply(event, after, moved, books, terms)
    return replace(applied, reason=applied.reason + _unbooked(notice))


def _open(
    event: Event, notice: PaymentNotice, order: Payment | None, books: SettlementStore, terms: WalletPolicy
) -> tuple[Payment, Payment] | SettlementResult:
    """The row that is new, without its id and with it; or why there is none yet."""
    newcomer = _newcomer(event, notice, order, terms)
    _keep_links(event.provider, notice, notice.user_id, books)
    if isinstance(newcomer, SettlementResult):
        return newcomer
    if event.tries < CHECKOUT_TRIES and (checkout := _likely_checkout(newcomer, notice, books)):
        return SettlementResult(
            EventState.RECEIVED,
            f"waits for the checkout event of payment {checkout}, which may be this payment",
            checkout,
        )
    opened = books.open(newcomer)
    failpoint("settlement.after_open")
    if opened is None:
        return SettlementResult(EventState.RECEIVED, f"user {newcomer.user_id} is not known yet")
    # somebody else may have opened it meanwhile, for another amount
    if fault := _mismatch(opened, notice, terms, is_accepted=event.accepted):
        return SettlementResult(EventState.QUARANTINED, fault, opened.id)
    return newcomer, opened


def _references(notice: PaymentNotice) -> tuple[str | None, ...]:
    """The references that the row of this payment can have: none yet, its own, or that of its checkout."""
    return (None, notice.reference) if notice.checkout is None else (None, notice.reference, notice.checkout)


def _registered_checkout(provider: str, notice: PaymentNotice, books: SettlementStore) -> str | None:
    """The reference of a payment that the school registered by its checkout; None where it did not."""
    if notice.checkout is None:
        return None
    row = books.find(provider, notice.checkout, None)
    return None if row is None else row.reference


def _find(provider: str, notice: PaymentNotice, books: SettlementStore) -> Payment | None:
    """The payment by its reference, else by its checkout, else by its order."""
    assert notice.reference is not None
    known = books.find(provider, notice.reference, notice.order_number)
    if notice.checkout is None or (known is not None and known.reference == notice.reference):
        return known
    return books.find(provider, notice.checkout, None) or known


def _likely_checkout(newcomer: Payment, notice: PaymentNotice, books: SettlementStore) -> int | None:
    """The registered payment, of the same user and amount, that `newcomer` may be; None where there is none.

    The provider sends the checkout's event at the same time: without this wait, the order of the two would decide
    whether the registered payment is completed, or another one beside it.
    """
    prefix = notice.checkout_prefix
    if prefix is None:
        return None
    reported = notice.amount_minor if notice.authorized_minor is None else notice.authorized_minor
    waiting = books.registered(newcomer.provider, newcomer.user_id, prefix)
    # an event that names an order has been matched by that already
    return min(
        (one.id for one in waiting if one.amount_minor == reported and (one.reference or notice.order_number is None)),
        default=None,
    )


def _close_checkout(provider: str, notice: PaymentNotice, moved: Payment, books: SettlementStore) -> Payment:
    """Cancel the checkout's row where the payment already has a row of its own, and return the payment.

    The payment takes over the order and the subscription of the canceled row, so that the order of the two events does
    not decide what it pays for.
    """
    row = None if notice.checkout is None else books.find(provider, notice.checkout, None)
    if row is None or row.id == moved.id or row.user_id != moved.user_id:
        return moved
    if row.state.stage < Stage.CANCELED:
        state = row.state.merge(PaymentState(Stage.CANCELED))
        books.save(replace(row, state=state, failure_reason=f"payment {moved.id} is the payment of its checkout"))
    registered = moved.registered_subscription or row.registered_subscription
    return replace(
        moved,
        order_number=moved.order_number or row.order_number,
        subscription_id=registered or moved.subscription_id,
        registered_subscription_id=registered,
    )


def _apply(
    event: Event, before: Payment, moved: Payment, books: SettlementStore, terms: WalletPolicy
) -> SettlementResult:
    """Book what is new in `moved`, and say so."""
    _move_money(event, before, moved, books, terms)
    books.save(moved)
    failpoint("settlement.after_payment")
    assert moved.reference is not None
    books.release(event.provider, moved.reference, terms.now())
    for day in _days(event, before, moved, terms):
        books.announce(moved.id, day)
    reason = f"payment {moved.id} is {moved.status}"
    if (refunded := moved.state.refunded_minor) > moved.amount_minor:
        above = refunded - moved.amount_minor
        reason += f"; its refunds of {refunded} are above the {moved.amount_minor} that were paid: {above} not booked"
    if moved.credited_minor and (first := books.paid_before(moved)):
        reason += f"; surplus: payment {first} has paid the same order"
    return SettlementResult(EventState.APPLIED, reason, moved.id)


def _book_payer(event: Event, notice: PaymentNotice, books: SettlementStore, terms: WalletPolicy) -> SettlementResult:
    """What becomes of an event without a payment of its own; it may say who makes the payments that come."""
    user_id = notice.user_id
    users = [] if user_id is not None else _payer(event.provider, notice, books)
    if len(users) == 1:
        user_id = users[0]
    _keep_links(event.provider, notice, user_id, books)
    if notice.invoice is not None:
        if len(users) > 1:
            return SettlementResult(EventState.QUARANTINED, _several(users))
        return _book_invoice(event.provider, notice.invoice, user_id, books, terms)
    if notice.payers and notice.user_id is not None:
        return SettlementResult(EventState.APPLIED, f"user {notice.user_id} pays what it is about")
    return SettlementResult(EventState.IGNORED, notice.failure_reason or f"{notice.kind} says nothing about a payment")


def _book_invoice(
    provider: str, invoice: str, user_id: int | None, books: SettlementStore, terms: WalletPolicy
) -> SettlementResult:
    """What becomes of a paid invoice that does not name its payment: that payment is booked by events of its own.

    It waits for whatever is not known yet: it may be the only event that leads from the payment to the payer.
    """
    paid_by = [link.reference for link in books.links(provider, [invoice]) if link.reference is not None]
    if not paid_by:
        missing = "the payment of this invoice is unknown: enable invoice_payment.paid at the provider"
        return SettlementResult(EventState.RECEIVED, missing)
    if user_id is not None:
        for reference in paid_by:
            books.release(provider, reference, terms.now())
    elif not any(books.find(provider, reference, None) for reference in paid_by):
        return SettlementResult(EventState.RECEIVED, "the user who pays this invoice is unknown")
    return SettlementResult(EventState.IGNORED, "nothing new: events of the payment of this invoice book it")


def _several(users: Iterable[int]) -> str:
    return f"its customer pays for users {', '.join(map(str, users))}, and no user is named"


def _payer(provider: str, notice: PaymentNotice, books: SettlementStore) -> list[int]:
    """Who pays, as the nearest of the provider's objects has it that says so; several where it is not one user's."""
    known = list(books.links(provider, notice.payers))
    for object_id in notice.payers:
        users = {link.user_id for link in known if link.object_id == object_id and link.user_id is not None}
        if users:
            return sorted(users)
    return []


def _keep_links(provider: str, notice: PaymentNotice, user_id: int | None, books: SettlementStore) -> None:
    links = [Link(object_id, user_id=user_id) for object_id in notice.payers] if user_id is not None else []
    for name in (notice.invoice, notice.checkout):
        if name not in (None, notice.reference) and notice.reference is not None:
            links.append(Link(name, reference=notice.reference))
    if links:
        books.add_links(provider, links)


def _corrected(payment: Payment, notice: PaymentNotice) -> Payment:
    """The payment with the amount that was collected in place of the registered one, as an operator has accepted."""
    if notice.stage is not Stage.COMPLETED or notice.amount_minor is None:
        return payment
    return replace(payment, amount_minor=notice.amount_minor, registered_minor=notice.amount_minor)


def _newcomer(
    event: Event, notice: PaymentNotice, order: Payment | None, terms: WalletPolicy
) -> Payment | SettlementResult:
    """A payment that has no row yet, or why it has to wait.

    A second payment of an `order` is of the same user, and for what the school's checkout registered. What another
    payment of it tried or collected registers nothing.
    """
    user_id = order.user_id if order is not None else notice.user_id
    registered = order.registered if order is not None else None
    subscription_id = order.registered_subscription if order is not None else None
    amount_minor = notice.amount_minor if registered is None else registered
    if user_id is None:
        return SettlementResult(
            EventState.RECEIVED, "no payment has this reference or order number, and no user is named"
        )
    if amount_minor is None:
        return SettlementResult(EventState.RECEIVED, "the payment that this is about is not known yet")
    newcomer = Payment(
        id=0,
        provider=event.provider,
        reference=notice.reference,
        order_number=notice.order_number,
        user_id=user_id,
        amount_minor=amount_minor,
        amount_is_final=registered is not None,
        registered_minor=registered,
        subscription_id=subscription_id,
        registered_subscription_id=subscription_id,
        currency=notice.currency or terms.currency,
        state=PaymentState(),
    )
    fault = _mismatch(newcomer, notice, terms, is_accepted=event.accepted)
    return SettlementResult(EventState.QUARANTINED, fault) if fault else newcomer


def _mismatch(payment: Payment, notice: PaymentNotice, terms: WalletPolicy, *, is_accepted: bool = False) -> str | None:
    """Why `notice` cannot be about `payment`, with both values; None where it can."""
    if payment.currency != terms.currency:
        return f"the school's wallets are in {terms.currency}, the payment is in {payment.currency}"
    if notice.currency is not None and notice.currency != payment.currency:
        return f"registered in {payment.currency}, reported {notice.currency}"
    if notice.user_id is not None and notice.user_id != payment.user_id:
        return f"registered for user {payment.user_id}, reported user {notice.user_id}"
    if payment.reference not in _references(notice):
        return None  # another payment of the same order: what it collected says nothing about this one
    if fault := _amount_fault(payment, notice):
        return fault
    # a collection reports its own amount; without one, what is known counts
    collected = notice.amount_minor if notice.stage is Stage.COMPLETED else None
    paid = payment.amount_minor if collected is None and payment.amount_is_final else collected
    if paid is not None and (notice.refunded_minor or 0) > paid and not is_accepted:
        return f"paid {paid}, reported {notice.refunded_minor} refunded (minor units)"
    return None


def _amount_fault(payment: Payment, notice: PaymentNotice) -> str | None:
    """Why the amount that was collected cannot be this payment's. A hold or an attempt may be of any: it moves none."""
    reported = notice.amount_minor
    if notice.stage is not Stage.COMPLETED or reported is None:
        return None
    if notice.authorized_minor is None:
        known = payment.amount_minor if payment.amount_is_final else reported
        is_same = reported == known
    else:
        # the school may have collected less than was registered, never more
        known = notice.authorized_minor if payment.registered is None else payment.registered
        is_same = notice.authorized_minor == known and (payment.registered is None or reported <= known)
        reported = reported if notice.authorized_minor == known else notice.authorized_minor
    return None if is_same else f"registered {known} {payment.currency}, reported {reported} (minor units)"


def _excess(moved: Payment, notice: PaymentNotice) -> str | None:
    """Why a refund has to wait: it is more than is known to be paid, and more may be reported as collected."""
    if not moved.amount_is_final:
        return None
    for refund in (moved.state.refunds[one.id] for one in notice.refunds):
        if not refund.is_ended and refund.amount_minor > moved.amount_minor:
            return f"paid {moved.amount_minor}, reported {refund.amount_minor} refunded (minor units)"
    return None


def _merge(payment: Payment, notice: PaymentNotice, received_at: datetime) -> Payment:
    """The payment after `notice`; equal to `payment` where there is nothing new.

    Every field takes the larger (or earlier) of what is known and what is new, or merges by the provider's own time
    (see `PaymentState`), so that the order of events is no matter. Only the news that money was collected reports when
    that was, how it came and what it cost.
    """
    state = payment.state.merge(notice.state)
    is_collected = notice.stage is Stage.COMPLETED
    amount_minor, reported_at = _amount(payment, notice)
    registered_subscription_id = payment.registered_subscription
    reported_fee_minor = max(payment.reported_fee_minor, (notice.fee_minor or 0) if is_collected else 0)
    completed_at, method = payment.completed_at, payment.method
    if is_collected:
        collected_at = _completed_at(notice, received_at)
        completed_at = min(completed_at or collected_at, collected_at)
        method = max(method or "", notice.method or "") or None
    return replace(
        payment,
        amount_minor=amount_minor,
        amount_told_at=reported_at,
        amount_is_final=payment.amount_is_final or is_collected,
        registered_minor=payment.registered,
        reference=notice.reference,
        order_number=payment.order_number or notice.order_number,
        subscription_id=registered_subscription_id
        or max(payment.subscription_id or 0, notice.subscription_id or 0)
        or None,
        registered_subscription_id=registered_subscription_id,
        state=state,
        credited_minor=state.credit_minor(amount_minor),
        fee_minor=reported_fee_minor + state.fee_minor(FeeKind.PAYMENT),
        failure_reason=_failure_reason(payment, notice),
        method=method,
        completed_at=completed_at,
    )


def _is_repetition(before: Payment, moved: Payment) -> bool:
    """Whether nothing but the time changed at which a figure was reported."""
    if before.state.stage is not moved.state.stage or before.credited_minor != moved.credited_minor:
        return False

    def timeless(payment: Payment) -> Payment:
        refunded = replace(payment.state.refunded, reported_at=None, fell_minor=0)
        disputes = {one.id: replace(one, reported_at=None) for one in payment.state.disputes.values()}
        state = replace(payment.state, refunded=refunded, disputes=disputes)
        return replace(payment, amount_told_at=None, state=state)

    return timeless(before) == timeless(moved) and Money.of(before) == Money.of(moved)


def _amount(payment: Payment, notice: PaymentNotice) -> tuple[int, datetime | None]:
    """The amount after `notice`, and the provider's time of it: a figure of what was collected, the newest of which
    counts; before that the largest that was held or tried, where nobody registered another. What a bill says has no
    time, so that it is older than every figure of the payment itself; of two bills the smaller figure counts, because
    an invoice that several payments paid reports the sum of them."""
    reported, known = notice.amount_minor, payment.amount_minor
    reported_at = None if notice.is_billed else notice.occurred_at
    if reported is None:
        return known, payment.amount_told_at
    if notice.stage is not Stage.COMPLETED:
        return known if payment.amount_is_final else max(known, reported), payment.amount_told_at
    if payment.state.stage is not Stage.COMPLETED:
        return reported, reported_at
    news, before = _figure(reported, reported_at), _figure(known, payment.amount_told_at)
    return (reported, reported_at) if news > before else (known, payment.amount_told_at)


def _figure(amount_minor: int, reported_at: datetime | None) -> tuple[datetime, int]:
    """What ranks a figure of what was collected."""
    return (_NEVER, -amount_minor) if reported_at is None else (reported_at, amount_minor)


def _unbooked(notice: PaymentNotice) -> str:
    """What of the event is not booked, for an operator to read."""
    return "" if notice.unbooked is None else f"; not booked: {notice.unbooked}"


def _failure_reason(payment: Payment, notice: PaymentNotice) -> str | None:
    """The reason that belongs to where the payment stands: a completed one has none, a disputed one the dispute's."""
    known = (_rank(payment.state), payment.failure_reason or "")
    reported = (_rank(notice.state), notice.failure_reason or "")
    return max(known, reported)[1] or None


def _rank(state: PaymentState) -> tuple[bool, int]:
    return (True, 0) if state.dispute is not DisputeState.INQUIRY else (False, state.stage)


def _completed_at(notice: PaymentNotice, received_at: datetime) -> datetime:
    """The provider's own time where it can be believed."""
    reported = notice.occurred_at
    return reported if reported and received_at - LATEST_DELIVERY <= reported <= received_at else received_at


def _days(event: Event, before: Payment, after: Payment, terms: WalletPolicy) -> list[date]:
    """The days whose numbers changed: two where an earlier time of completion came to light."""
    instants = [at for at in (before.completed_at, after.completed_at) if at] or [event.received_at]
    return sorted({at.astimezone(terms.zone).date() for at in instants})


def _move_money(event: Event, before: Payment, after: Payment, books: SettlementStore, terms: WalletPolicy) -> None:
    if after.state.stage is not Stage.COMPLETED:
        return
    books.balance(after.user_id)
    for transaction in transactions(before, after):
        books.post(transaction, event.id)
        failpoint("settlement.after_credit")
    # also where no money moved: what is free, or has become due since, must not depend on which news came first
    books.save(after)
    pay_subscriptions(after.user_id, after.currency, books, terms.now(), event.id)
