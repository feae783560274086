"""Builds the bodies of Stripe's events about a payment, as its API documents them."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from local.psp.payment import Json, Payment, digest

#: Stripe's own kind of each event of `local.psp.bodies.WORDS`.
KINDS: Final[Mapping[str, str]] = {
    "pending": "payment_intent.processing",
    "authorized": "payment_intent.amount_capturable_updated",
    "paid": "payment_intent.succeeded",
    "failed": "payment_intent.payment_failed",
    "canceled": "payment_intent.canceled",
    "charged": "charge.succeeded",
    "charge_failed": "charge.failed",
    "captured": "charge.captured",
    "fee_charged": "charge.updated",
    "refunded": "charge.refunded",
    # `amount_refunded` falls to nothing
    "refund_reverted": "charge.updated",
    "refund_created": "refund.created",
    "refund_failed": "refund.failed",
    "refund_updated": "refund.updated",
    "charge_refund_updated": "charge.refund.updated",
    "inquired": "charge.dispute.created",
    "disputed": "charge.dispute.created",
    "withdrawn": "charge.dispute.funds_withdrawn",
    "reinstated": "charge.dispute.funds_reinstated",
    "won": "charge.dispute.closed",
    "lost": "charge.dispute.closed",
    # a second dispute of the same payment
    "disputed_again": "charge.dispute.created",
    "won_again": "charge.dispute.closed",
    "lost_again": "charge.dispute.closed",
    "session_completed": "checkout.session.completed",
    # completed, by a method that pays later
    "session_pending": "checkout.session.completed",
    "session_paid": "checkout.session.async_payment_succeeded",
    "session_failed": "checkout.session.async_payment_failed",
    "session_expired": "checkout.session.expired",
    # a session of mode `subscription`: it names the payer of the invoices
    "subscribed": "checkout.session.completed",
    # the first names the payer and not the payment, the second the payment and not the payer
    "invoiced": "invoice.paid",
    "invoice_payment": "invoice_payment.paid",
}
_SUFFIX: Final = "_again"
_DISPUTE_STATUS: Final = {
    "inquired": "warning_needs_response",
    "disputed": "needs_response",
    "withdrawn": "needs_response",
    "reinstated": "won",
    "won": "won",
    "lost": "lost",
}


def stripe_event(payment: Payment, what: str, event_id: str, at: datetime) -> Json:
    """The event `what` of `payment`, created `at`."""
    seconds = int(at.timestamp())
    thing, previous = _BUILDERS[_family(what)](payment, what, seconds)
    data: Json = {"object": {"currency": payment.currency.lower(), "livemode": payment.is_live, **thing}}
    if previous:
        data["previous_attributes"] = previous
    event = {
        "id": event_id,
        "object": "event",
        "type": KINDS[what],
        "created": seconds,
        "livemode": payment.is_live,
        "data": data,
    }
    known = {"account": payment.account, "api_version": payment.api_version}
    return {**event, **{name: value for name, value in known.items() if value is not None}}


Built = tuple[Json, Json | None]


def _intent(payment: Payment, what: str, seconds: int) -> Built:
    collected = payment.captured_minor or payment.amount_minor
    return {
        "id": payment.reference,
        "object": "payment_intent",
        "amount": payment.amount_minor,
        "amount_received": collected if what == "paid" else 0,
        "metadata": _metadata(payment),
        **_customer(payment),
    }, None


def _charge(payment: Payment, what: str, seconds: int) -> Built:
    captured = payment.captured_minor or payment.amount_minor
    refunded = payment.refunded_minor or captured
    # Stripe counts what was not captured of a hold among the refunds
    rest = payment.amount_minor - captured
    has_failed = what == "charge_failed"
    thing: Json = {
        "id": _name("ch", payment, "charge"),
        "object": "charge",
        "amount": payment.amount_minor,
        "amount_captured": 0 if has_failed else captured,
        "amount_refunded": 0 if has_failed else rest + (refunded if what == "refunded" else 0),
        "balance_transaction": None if has_failed else _name("txn", payment, "charge"),
        "captured": not has_failed,
        "metadata": _metadata(payment),
        "paid": not has_failed,
        "payment_intent": _expandable(payment, payment.reference, "payment_intent"),
        "status": "failed" if has_failed else "succeeded",
        **_customer(payment),
    }
    if has_failed:
        thing["failure_message"] = "Your card was declined."
    elif payment.fee_minor:
        thing["balance_transaction"] = _movement(payment, "charge", captured, payment.fee_minor)
    before: dict[str, Json | None] = {
        "captured": {"captured": False, "amount_captured": 0, "amount_refunded": 0},
        "refunded": {"amount_refunded": rest},
        "refund_reverted": {"amount_refunded": rest + refunded},
        "fee_charged": {"balance_transaction": None},
    }
    return thing, before.get(what)


def _refund(payment: Payment, what: str, seconds: int) -> Built:
    captured = payment.captured_minor or payment.amount_minor
    amount = payment.refunded_minor or captured
    thing: Json = {
        "id": _name("re", payment),
        "object": "refund",
        "amount": amount,
        "balance_transaction": _name("txn", payment, "refund"),
        "charge": _expandable(payment, _name("ch", payment, "charge"), "charge"),
        "created": seconds,
        "metadata": {},
        "payment_intent": _expandable(payment, payment.reference, "payment_intent"),
        "status": "succeeded",
    }
    if what == "refund_created":
        return thing, None
    failed = {"status": "failed", "failure_reason": "lost_or_stolen_card"}
    # it began before
    return {**thing, **failed, "created": seconds - 60}, {"status": "succeeded"}


def _dispute(payment: Payment, what: str, seconds: int) -> Built:
    is_second, word = what.endswith(_SUFFIX), what.removesuffix(_SUFFIX)
    amount = payment.disputed_minor or payment.captured_minor or payment.amount_minor
    if is_second:
        amount = payment.second_dispute_minor or amount
    number = ("2",) if is_second else ()
    moved = []
    if payment.dispute_fee_minor and word != "inquired":
        moved.append(_movement(payment, " ".join(("dispute", *number)), -amount, payment.dispute_fee_minor))
    return {
        "id": _name("dp", payment, *number),
        "object": "dispute",
        "amount": amount,
        "balance_transactions": moved,
        "charge": _expandable(payment, _name("ch", payment, "charge"), "charge"),
        "metadata": _metadata(payment),
        "payment_intent": _expandable(payment, payment.reference, "payment_intent"),
        "reason": "fraudulent",
        "status": _DISPUTE_STATUS[word],
    }, None


def _session(payment: Payment, what: str, seconds: int) -> Built:
    is_paid = what in ("session_completed", "session_paid")
    has_intent = what not in ("session_expired", "subscribed")
    thing: Json = {
        "id": _name("cs_test", payment, "session"),
        "object": "checkout.session",
        "amount_total": payment.amount_minor,
        "client_reference_id": None if payment.user_id is None else str(payment.user_id),
        "metadata": _metadata(payment),
        "mode": "payment",
        "payment_intent": _expandable(payment, payment.reference, "payment_intent") if has_intent else None,
        "payment_status": "paid" if is_paid or what == "subscribed" else "unpaid",
        "status": "expired" if what == "session_expired" else "complete",
        **_customer(payment),
    }
    if what == "subscribed":
        thing |= {"mode": "subscription", "subscription": _name("sub", payment), "customer": _customer_of(payment)}
    return thing, None


def _invoice(payment: Payment, what: str, seconds: int) -> Built:
    """One of the two events of an invoice: this one names the payer, the other one the payment."""
    common = {"status": "paid", "amount_paid": payment.amount_minor, "amount": payment.amount_minor}
    if what == "invoiced":
        thing = {"id": _name("in", payment), "object": "invoice", "metadata": _metadata(payment)}
        # a customer whom an earlier session named
        return {**common, **thing, **({} if payment.user_id else {"customer": _customer_of(payment)})}, None
    paid_by = {
        "type": "payment_intent",
        "payment_intent": _expandable(payment, payment.reference, "payment_intent"),
    }
    thing = {"id": _name("inpay", payment), "object": "invoice_payment", "invoice": _name("in", payment)}
    return {**common, **thing, "payment": paid_by, "metadata": {}}, None


_BUILDERS: Final[Mapping[str, Callable[[Payment, str, int], Built]]] = {
    "payment_intent": _intent,
    "charge": _charge,
    "refund": _refund,
    "dispute": _dispute,
    "checkout": _session,
    "invoice": _invoice,
    "invoice_payment": _invoice,
}


def _family(what: str) -> str:
    kind = KINDS[what]
    if kind.startswith("charge.dispute."):
        return "dispute"
    return "refund" if kind == "charge.refund.updated" else kind.partition(".")[0]


def _name(prefix: str, payment: Payment, *parts: str) -> str:
    return f"{prefix}_{digest(payment.reference, *parts)}"


def _metadata(payment: Payment) -> dict[str, str]:
    known = {
        "user_id": payment.user_id,
        "order_id": payment.order_number,
        "subscription_id": payment.subscription_id,
    }
    return {name: str(value) for name, value in known.items() if value is not None}


def _customer_of(payment: Payment) -> str:
    return f"cus_{digest(payment.reference, 'customer')}"


def _customer(payment: Payment) -> Json:
    if not payment.is_expanded:
        return {}
    return {"customer": {"id": _customer_of(payment), "object": "customer", "metadata": {}}}


def _expandable(payment: Payment, object_id: str, kind: str) -> Any:
    """The id of an object, or the object itself."""
    if not payment.is_expanded:
        return object_id
    return {"id": object_id, "object": kind, "amount": payment.amount_minor, "metadata": _metadata(payment)}


def _movement(payment: Payment, source: str, amount: int, fee: int) -> Json:
    """A movement of the account's balance, in the currency in which Stripe settles the account."""
    return {
        "id": _name("txn", payment, source),
        "object": "balance_transaction",
        "amount": amount,
        "currency": (payment.fee_currency or payment.currency).lower(),
        "fee": fee,
        "net": amount - fee,
    }
