"""The JSON that each provider writes about a payment, in that provider's own words and units."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from local.psp.payment import Json, Payment, digest
from local.psp.stripe_event_bodies import KINDS, stripe_event

__all__ = ["BODIES", "WORDS", "Json", "Payment", "digest"]

#: The events of a payment. Not every provider sends all of them: see `WORDS`.
WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "chargily": ("paid", "failed", "canceled", "expired"),
    "satim": ("paid", "failed", "expired"),
    "cib": ("paid", "failed", "expired"),
    "standard_webhooks": ("pending", "paid", "failed", "canceled", "refunded"),
    "stripe": tuple(KINDS),
    "generic": ("pending", "paid", "failed", "canceled", "refunded"),
}


def _chargily(payment: Payment, what: str, event_id: str, at: datetime) -> Json:
    seconds = int(at.timestamp())
    dinars, rest = divmod(payment.amount_minor, 100)
    if rest:
        raise ValueError("Chargily takes whole dinars: amount_minor must be a multiple of 100.")
    metadata = {
        "user_id": payment.user_id,
        "order_id": payment.order_number,
        "subscription_id": payment.subscription_id,
    }
    return {
        "id": event_id,
        "entity": "event",
        "livemode": payment.is_live,
        "type": f"checkout.{what}",
        "data": {
            "id": payment.reference,
            "entity": "checkout",
            "livemode": payment.is_live,
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
    if payment.subscription_id is not None:
        body["subscription_id"] = payment.subscription_id
    return body


def _generic(payment: Payment, what: str, event_id: str, at: datetime) -> Json:
    return {"event_id": event_id, "status": "completed" if what == "paid" else what, **_own_form(payment, what)}


def _standard_webhooks(payment: Payment, what: str, event_id: str, at: datetime) -> Json:
    status = "completed" if what == "paid" else what
    return {"type": f"payment.{status}", "timestamp": at.isoformat(), "data": _own_form(payment, what)}


#: The body of one event of one payment: (payment, what, event id, when) to JSON.
BODIES: Final[Mapping[str, Callable[[Payment, str, str, datetime], Json]]] = {
    "chargily": _chargily,
    "generic": _generic,
    "standard_webhooks": _standard_webhooks,
    "stripe": stripe_event,
}
