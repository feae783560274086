"""Stripe's events of a payment, each of which Stripe's own library can read."""

import itertools
import json
from typing import Any

import stripe

from tests.webhook_gateway.settlement.factories import OPENED_AT

Body = dict[str, Any]
#: A number of its own for each event.
TURNS = itertools.count()
#: When the payment began, by Stripe's clock.
BEGAN = int(OPENED_AT.timestamp()) - 3600


def event(kind: str, at: int, thing: Body, previous: Body | None = None) -> Body:
    """An event of `kind`, `at` seconds after the payment began. It must be one that Stripe's library can read."""
    body = {
        "id": f"evt_{next(TURNS)}",
        "object": "event",
        "type": kind,
        "created": BEGAN + at,
        "livemode": True,
        "data": {"object": {"currency": "dzd", **thing}, **({"previous_attributes": previous} if previous else {})},
    }
    read = stripe.Event.construct_from(json.loads(json.dumps(body)), "sk_test")
    assert (read.type, read.data.object["object"]) == (kind, thing["object"])
    return body


def intent(kind: str = "succeeded", at: int = 1, name: str = "pi_1", amount: int = 10000, **known: Any) -> Body:
    thing = {"object": "payment_intent", "id": name, "amount": amount, "amount_received": amount, **known}
    return event(f"payment_intent.{kind}", at, thing)


def charge(kind: str, at: int, amount: int = 10000, *, previous: Body | None = None, **known: Any) -> Body:
    thing = {
        "object": "charge",
        "id": "ch_1",
        "payment_intent": "pi_1",
        "amount": amount,
        "amount_captured": amount,
        "amount_refunded": 0,
        "captured": True,
        "status": "succeeded",
        "metadata": {"user_id": "USER"},
        **known,
    }
    return event(f"charge.{kind}", at, thing, previous)


def several_captures(kind: str, at: int, amount_refunded: int = 0, before: Body | None = None) -> Body:
    """A hold of 9000 that can be captured several times, and of which 7000 is captured."""
    card = {"type": "card", "card": {"multicapture": {"status": "available"}}}
    known: Body = {"amount_captured": 7000, "amount_refunded": amount_refunded, "payment_method_details": card}
    return charge(kind, at, 9000, previous=before, **known)


def movement(fee: object, currency: str = "dzd", name: str = "txn_1") -> Body:
    """A movement of the account's balance."""
    return {"object": "balance_transaction", "id": name, "fee": fee, "currency": currency}


def refund(
    kind: str, at: int, status: str, amount: int = 10000, name: str = "re_1", fee: int = 0, fee_currency: str = "dzd"
) -> Body:
    moved = {"balance_transaction": movement(fee, fee_currency, f"txn_{name}")} if fee else {}
    thing = {"object": "refund", "id": name, "amount": amount, "status": status, "charge": "ch_1", **moved}
    return event(kind, at, {**thing, "payment_intent": "pi_1", "created": BEGAN + 10})


def refunded(at: int, amount: int = 10000, name: str = "re_1", **fees: Any) -> Body:
    """A refund that succeeded at once."""
    return refund("refund.created", at, "succeeded", amount, name, **fees)


def refund_failed(at: int, amount: int = 10000, name: str = "re_1") -> Body:
    """The payer's bank sends a refund back."""
    return refund("refund.failed", at, "failed", amount, name)


def dispute(
    kind: str,
    at: int,
    status: str,
    amount: int,
    name: str = "dp_1",
    fee: int = 0,
    fee_back: int = 0,
    fee_currency: str = "dzd",
) -> Body:
    fees = {f"txn_{name}": fee, f"txn_{name}_back": -fee_back}
    moved = [movement(one, fee_currency, movement_id) for movement_id, one in fees.items() if one]
    thing = {"object": "dispute", "id": name, "amount": amount, "status": status, "charge": "ch_1"}
    return event(f"charge.dispute.{kind}", at, {**thing, "payment_intent": "pi_1", "balance_transactions": moved})


def session(kind: str, at: int = 1, **known: Any) -> Body:
    """A checkout session in which one payment is made."""
    thing = {
        "object": "checkout.session",
        "id": "cs_1",
        "mode": "payment",
        "payment_intent": "pi_1",
        "payment_status": "paid",
        "amount_total": 10000,
        **known,
    }
    return event(f"checkout.session.{kind}", at, thing)


SESSION = event(
    "checkout.session.completed",
    1,
    {"object": "checkout.session", "id": "cs_1", "payment_intent": None, "client_reference_id": "USER",
     "customer": "cus_1", "subscription": "sub_1", "mode": "subscription", "payment_status": "paid"},
)  # fmt: skip
INVOICE: Body = {"object": "invoice", "id": "in_1", "amount_paid": 10000, "customer": "cus_1", "status": "paid"}
NAMED = {"parent": {"subscription_details": {"subscription": "sub_1", "metadata": {"user_id": "USER"}}}}
INVOICE_PAYMENT = event(
    "invoice_payment.paid",
    3,
    {"object": "invoice_payment", "id": "inpay_1", "amount_paid": 10000, "invoice": "in_1", "status": "paid",
     "payment": {"type": "payment_intent", "payment_intent": "pi_1"}},
)  # fmt: skip
