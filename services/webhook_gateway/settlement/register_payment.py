"""Registers a payment before its first webhook, so that it can be polled."""

from dataclasses import replace
from datetime import datetime

from services.webhook_gateway.errors import ConflictingPaymentError, UnknownUserError
from services.webhook_gateway.payments.model import Payment
from services.webhook_gateway.settlement.settlement_store import SettlementStore
from services.webhook_gateway.settlement.subscription_activation import pay_subscriptions


def register_payment(payment: Payment, books: SettlementStore, now: datetime) -> Payment:
    """The row of `payment`, opened if there was none; saying it again changes nothing.

    Raises UnknownUserError, and ConflictingPaymentError where the row is for somebody or something else.
    """
    assert payment.reference is not None
    found = books.find(payment.provider, payment.reference, payment.order_number)
    if found is None or found.reference not in (None, payment.reference):
        # a checkout whose payment an event has reported
        references = [link.reference for link in books.links(payment.provider, [payment.reference]) if link.reference]
        if references:
            payment = replace(payment, reference=min(references))
            found = books.find(payment.provider, min(references), payment.order_number)
    assert payment.reference is not None
    if found is None or found.reference not in (None, payment.reference):
        found = books.open(payment)  # also for a second try at an order whose first had another reference
        if found is None:
            raise UnknownUserError(payment.user_id)
    _require_same(payment, found)
    known = replace(found, reference=payment.reference, order_number=found.order_number or payment.order_number)
    if not found.amount_is_final:
        # a hold or a failed attempt said what was tried; the school says what is to be paid
        known = replace(known, amount_minor=payment.amount_minor, amount_is_final=True)
    if payment.subscription_id is not None:
        named = payment.subscription_id
        known = replace(known, subscription_id=named, registered_subscription_id=named)
    if known != found:
        books.save(known)
    if known.subscription_id != found.subscription_id and known.completed_at is not None:
        pay_subscriptions(known.user_id, known.currency, books, now, None)
    # what a webhook reported before now has a payment to be about
    books.release(payment.provider, payment.reference, now)
    return known


def _require_same(wanted: Payment, found: Payment) -> None:
    is_same = (
        (wanted.user_id, wanted.currency) == (found.user_id, found.currency)
        and (wanted.amount_minor in (found.amount_minor, found.registered) or not found.amount_is_final)
        and wanted.order_number in (None, found.order_number or wanted.order_number)
    )
    if not is_same:
        raise ConflictingPaymentError(found.id)
