"""The JSON that each provider writes about a payment, in that provider's own words and units."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

#: What can be told of a payment. Not every provider tells all: see `WORDS`.
WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "chargily": ("paid", "failed", "canceled", "expired"),
    "satim": ("paid", "failed", "expired"),
    "cib": ("paid", "failed", "expired"),
    "standard_webhooks": ("pending", "paid", "failed", "canceled", "refunded"),
    "stripe": (
        "pending", "authorized", "captured", "paid", "failed", "canceled", "refunded", "refund_failed", "disputed",
        "won", "lost", "invoiced", "invoice_payment",
    ),
    "generic": ("pending", "paid", "failed", "canceled", "refunded"),
}  # fmt: skip
Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """One payment as the provider knows it.

    `refunded_minor` is what was refunded so far, `captured_minor` what was captured of a hold, and `disputed_minor`
    what a dispute is about; 0 means all of it.
    """

    reference: str
    amount_minor: int
    user_id: int | None = None
    order_number: str | None = None
    currency: str = "DZD"
    refunded_minor: int = 0
    captured_minor: int = 0
    disputed_minor: int = 0


def digest(*parts: str) -> str:
    """A short name made of others, so that the same payment always has the same ids."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:26]


def _chargily(payment: Payment, what: str, event_id: str, at: datetime) -> Json:
    seconds = int(at.timestamp())
    dinars, rest = divmod(payment.amount_minor, 100)
    if rest:
        raise ValueError("Chargily takes whole dinars: amount_minor must be a multiple of 100.")
    metadata = {"user_id": payment.user_id, "order_id": payment.order_number}
    return {
        "id": event_id,
        "entity": "event",
        "livemode": False,
        "type": f"checkout.{what}",
        "data": {
            "id": payment.reference,
            "entity": "checkout",
            "livemode": False,
            "amount": dinars,
            "currency": payment.currency.lower(),
            "fees": 0,
            "fees_on_merchant": 0,
            "fees_on_customer": 0,
            "status": what,
            "locale": "fr",
            "metadata": {name: value for name, value in metadata.items() if value is not None} or None,
            "payment_method": "edahabia",
            "success_url": "https://school.example/payments/success",
            "created_at": seconds,
            "updated_at": seconds,
        },
        "created_at": seconds,
        "updated_at": seconds,
    }


def _own_form(payment: Payment, what: str) -> Json:
    amount = (payment.refunded_minor or payment.amount_minor) if what == "refunded" else payment.amount_minor
    body: Json = {"transaction_id": payment.reference, "amount": amount, "currency": payment.currency}
    if payment.order_number is not None:
        body["order_id"] = payment.order_number
    if payment.user_id is not None:
        body["user_id"] = payment.user_id
    return body


def _generic(payment: Payment, what: str, event_id: str, at: datetime) -> Json:
    return {"event_id": event_id, "status": "completed" if what == "paid" else what, **_own_form(payment, what)}


def _standard_webhooks(payment: Payment, what: str, event_id: str, at: datetime) -> Json:
    status = "completed" if what == "paid" else what
    return {"type": f"payment.{status}", "timestamp": at.isoformat(), "data": _own_form(payment, what)}


_STRIPE_TYPES: Final = {
    "pending": "payment_intent.processing",
    "authorized": "payment_intent.amount_capturable_updated",
    "captured": "charge.captured",
    "paid": "payment_intent.succeeded",
    "failed": "payment_intent.payment_failed",
    "canceled": "payment_intent.canceled",
    "refunded": "charge.refunded",
    "refund_failed": "refund.failed",
    "disputed": "charge.dispute.created",
    "won": "charge.dispute.closed",
    "lost": "charge.dispute.closed",
    # the first names the payer and not the payment, the second the payment and not the payer
    "invoiced": "invoice.paid",
    "invoice_payment": "invoice_payment.paid",
}


def _stripe(payment: Payment, what: str, event_id: str, at: datetime) -> Json:
    return {
        "id": event_id,
        "object": "event",
        "type": _STRIPE_TYPES[what],
        "created": int(at.timestamp()),
        "livemode": False,
        "data": {"object": _stripe_object(payment, what, at)},
    }


def _stripe_object(payment: Payment, what: str, at: datetime) -> Json:
    metadata = {"user_id": payment.user_id, "order_id": payment.order_number}
    thing: Json = {
        "amount": payment.amount_minor,
        "currency": payment.currency.lower(),
        "metadata": {name: str(value) for name, value in metadata.items() if value is not None},
    }
    captured = payment.captured_minor or payment.amount_minor
    refunded = payment.refunded_minor or captured
    of_charge = {"charge": f"ch_{digest(payment.reference, 'charge')}", "payment_intent": payment.reference}
    if what in ("captured", "refunded"):
        thing |= {"id": of_charge["charge"], "object": "charge", "payment_intent": payment.reference}
        # Stripe counts what was not captured among the refunds
        given_back = payment.amount_minor - captured + (refunded if what == "refunded" else 0)
        thing |= {"status": "succeeded", "captured": True, "amount_captured": captured, "amount_refunded": given_back}
    elif what == "refund_failed":
        # it began before
        thing |= {**of_charge, "object": "refund", "status": "failed", "created": int(at.timestamp()) - 60}
        thing |= {"id": f"re_{digest(payment.reference)}", "amount": refunded}
    elif what in ("disputed", "won", "lost"):
        thing |= {**of_charge, "id": f"dp_{digest(payment.reference)}", "object": "dispute", "reason": "fraudulent"}
        thing["status"] = "needs_response" if what == "disputed" else what
        thing["amount"] = payment.disputed_minor or captured
    elif what in ("invoiced", "invoice_payment"):
        thing |= _stripe_invoice(payment, what)
    else:
        thing |= {"id": payment.reference, "object": "payment_intent"}
        thing["amount_received"] = payment.amount_minor if what == "paid" else 0
    return thing


def _stripe_invoice(payment: Payment, what: str) -> Json:
    """One of the two events of an invoice: this one names the payer, the other one the payment."""
    invoice_id = f"in_{digest(payment.reference)}"
    told = {"status": "paid", "amount_paid": payment.amount_minor}
    if what == "invoiced":
        return {**told, "id": invoice_id, "object": "invoice"}
    paid_by = {"type": "payment_intent", "payment_intent": payment.reference}
    named = {"id": f"inpay_{digest(payment.reference)}", "object": "invoice_payment", "invoice": invoice_id}
    return {**told, **named, "payment": paid_by, "metadata": {}}


#: How a provider tells one thing of one payment: (payment, what, event id, when) to JSON.
BODIES: Final[Mapping[str, Callable[[Payment, str, str, datetime], Json]]] = {
    "chargily": _chargily,
    "generic": _generic,
    "standard_webhooks": _standard_webhooks,
    "stripe": _stripe,
}
