"""Parses Stripe's events: one reader for each kind of object.

Every event of one payment meets on its payment intent (or on the charge, where there is none). Amounts are in the
currency's minor unit. An object that Stripe gives as an id may also be the object itself ("expanded"): both are read.
An event about money that is in none of the lists is Unreadable, so that it is put aside and never passed over.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from services.webhook_gateway.errors import UnreadableEventError
from services.webhook_gateway.payments.objects import Dispute, DisputeState, Fee, FeeKind, Refund, RefundState
from services.webhook_gateway.payments.payment_state import Stage
from services.webhook_gateway.providers import fields

Json = Mapping[str, Any]
#: A part of a notice that one kind of object reports; the rest is the same for all.
Part = Mapping[str, Any]


#: Currencies whose amounts Stripe does not count in ISO 4217's minor unit: (ISO's units, of so many of Stripe's).
#: https://docs.stripe.com/currencies has them as special cases, and MGA among those without decimals.
_UNITS: Final[Mapping[str, tuple[int, int]]] = {"ISK": (1, 100), "UGX": (1, 100), "MGA": (100, 1)}


@dataclass(frozen=True, slots=True)
class Context:
    """What the event says beside its object: its kind, its time, its currency, and what the fields were before."""

    kind: str
    currency: str
    at: datetime | None = None
    previous: Json = field(default_factory=dict)

    def minor(self, value: Any, name: str) -> int:
        """An amount of Stripe's in the currency's minor unit. Raises Unreadable for anything else."""
        ours, theirs = _UNITS.get(self.currency, (1, 1))
        amount_minor = fields.amount_minor(value, name, ours)
        if amount_minor % theirs:
            raise UnreadableEventError(f"{name} must be a multiple of {theirs}: {self.currency} has no smaller unit.")
        return amount_minor // theirs


def stripes_units(amount_minor: int, currency: Any) -> int:
    """The amount as Stripe's API counts it."""
    ours, theirs = _UNITS.get(str(currency).upper(), (1, 1))
    return amount_minor * theirs // ours


Reader = Callable[[Json, Context], Part]


def read(kind: str, event: Json) -> Part | None:
    """What an event says; None where its kind is nothing about money. Raises what is not understood."""
    reader = READERS.get(kind)
    if reader is None:
        if kind.startswith(MONEY) and kind not in NO_MONEY:
            raise UnreadableEventError(f"{kind[:80]} concerns money, and Nouba does not read it.")
        return {"failure_reason": NO_MONEY[kind]} if kind in NO_MONEY else None
    data = fields.section(event, "data")
    thing = fields.section(data, "object")
    currency = fields.currency(thing.get("currency"))
    context = Context(kind, currency, fields.instant(event.get("created")), _object(data.get("previous_attributes")))
    return {"currency": currency, **_payer(thing), **reader(thing, context)}


def _intent(stage: Stage) -> Reader:
    def read_intent(intent: Json, context: Context) -> Part:
        # what was collected can be less than what was asked for
        received = intent.get("amount_received") if stage is Stage.COMPLETED else None
        amount = context.minor(intent.get("amount"), "amount")
        error = intent.get("last_payment_error")
        reason = error.get("message") if isinstance(error, dict) else intent.get("cancellation_reason")
        is_collected = stage is Stage.COMPLETED
        return {
            **(_of_charge(intent, context) if is_collected else {}),
            "reference": fields.identifier(intent.get("id"), "data.object.id"),
            "stage": stage,
            "amount_minor": amount if received is None else context.minor(received, "amount_received"),
            "authorized_minor": amount if is_collected else None,
            "failure_reason": fields.description(reason),
            "invoice": _invoice_of(intent),
            **_checkout_of(intent),
        }

    return read_intent


def _of_charge(intent: Json, context: Context) -> Part:
    """What the charge says that collected an intent's money, where the event holds it."""
    charges = [intent.get("latest_charge"), *_list(intent.get("charges"))]
    for charge in charges:
        if isinstance(charge, dict) and charge.get("status") == "succeeded" and charge.get("captured") is not False:
            parsed = _charge({"id": "unused", **charge}, context)
            names = ("refunded_minor", "refunded_fell_minor", "refunds", "fees", "unbooked", "method")
            return {name: parsed[name] for name in names if name in parsed}
    return {}


def _session(stage: Stage) -> Reader:
    def read_session(session: Json, context: Context) -> Part:
        # a session without an intent collected nothing itself: it says who pays what the subscription will cost
        intent = _optional_id(session.get("payment_intent"), "payment_intent")
        is_paid = stage is not Stage.COMPLETED or session.get("payment_status") == "paid"
        amount = context.minor(session.get("amount_total"), "amount_total") if intent else None
        is_collected = is_paid and stage is Stage.COMPLETED
        name = fields.identifier(session.get("id"), "data.object.id")
        if intent is None and session.get("mode") == "payment" and session.get("payment_status") == "paid":
            raise UnreadableEventError("The session is paid, and names no payment_intent that paid it.")
        # that of a subscription is paid by the payments of its invoices
        is_own = intent is not None or session.get("mode") == "payment"
        return {
            "reference": intent,
            "checkout": name if is_own else None,
            "stage": stage if is_paid else Stage.PENDING,
            "amount_minor": amount,
            "authorized_minor": amount if is_collected else None,
            "is_billed": True,
        }

    return read_session


def _charge(charge: Json, context: Context) -> Part:
    stage = {"failed": Stage.FAILED, "succeeded": Stage.COMPLETED}.get(str(charge.get("status")), Stage.PENDING)
    amount = context.minor(charge.get("amount"), "amount")
    refunded = charge.get("amount_refunded")
    refunded = None if refunded is None else context.minor(refunded, "amount_refunded")
    if stage is Stage.COMPLETED and charge.get("captured") is False:
        # a hold that was given up, not money that was given back
        stage = Stage.CANCELED if refunded else Stage.AUTHORIZED
    if context.kind == "charge.expired":
        stage = Stage.EXPIRED
    parsed = {
        "reference": _payment_of(charge, charge.get("id")),
        "stage": stage,
        "amount_minor": amount,
        "method": fields.description(_object(charge.get("payment_method_details")).get("type")),
        "failure_reason": fields.description(charge.get("failure_message")),
        "invoice": _invoice_of(charge),
        **_checkout_of(charge),
    }
    return parsed if stage is not Stage.COMPLETED else {**parsed, **_captured(charge, amount, refunded, context)}


def _captured(charge: Json, amount: int, refunded: int | None, context: Context) -> Part:
    """What a charge that was captured says of its money: how much of it came, what went back, and what it cost."""
    captured = charge.get("amount_captured")
    captured = amount if captured is None else context.minor(captured, "amount_captured")
    rest = amount - captured
    released = _released(charge, rest, refunded, context)
    listed = _list(charge.get("refunds"))
    moved = [one for one in listed if not _is_release(one)]
    refunds = [_refund_object(one, context) for one in moved]
    if released and len(moved) == len(listed):
        refunds = _without_released(refunds, released)
    fees = _fees([charge.get("balance_transaction")], context, FeeKind.PAYMENT)
    unbooked = [fees["unbooked"]] if fees["unbooked"] else []
    if released is None:
        unbooked.append(f"amount_refunded {refunded} may hold {rest} that was not captured (minor units)")
    return {
        "amount_minor": captured,
        "authorized_minor": amount,
        "refunded_minor": None if refunded is None or released is None else refunded - released,
        "refunded_fell_minor": _fell(refunded, context),
        "refunds": tuple(refunds),
        **fees,
        "unbooked": "; ".join(unbooked) or None,
    }


#: The fields of a charge that change with a capture.
_CAPTURED: Final = ("captured", "amount_captured")


def _released(charge: Json, rest: int, refunded: int | None, context: Context) -> int | None:
    """The part of `amount_refunded` that is the rest of a hold that was not captured: nobody was given that back.

    Stripe counts the rest among the refunds of a charge that was captured once, and not while it can be captured again
    (`final_capture`). None where the event does not say which of the two it is.
    """
    if rest <= 0 or refunded is None or refunded < rest:
        return 0
    before = _before(context)
    is_capture = context.kind == "charge.captured" or not context.previous.keys().isdisjoint(_CAPTURED)
    if not _is_multicapture(charge):
        return rest if is_capture or before is None or before >= rest else 0
    if is_capture and context.previous:
        # what did not change is not in it; a capture that is the last one adds the rest
        return rest if before is not None and refunded - before == rest else 0
    if not is_capture and before is not None and before < rest:
        return 0
    listed = _listed_minor(charge, context)
    return refunded - listed if listed is not None and refunded - listed in (0, rest) else None


def _listed_minor(charge: Json, context: Context) -> int | None:
    """What the refunds that the charge lists gave back; None where it has no list, or not all of it."""
    if not isinstance(charge.get("refunds"), dict) or charge["refunds"].get("has_more") is True:
        return None
    listed = [_refund_object(one, context) for one in _list(charge.get("refunds")) if not _is_release(one)]
    return sum(one.amount_minor for one in listed if not one.is_ended)


def _is_multicapture(charge: Json) -> bool:
    """Whether the charge can be captured several times: https://docs.stripe.com/payments/multicapture."""
    details = _object(charge.get("payment_method_details"))
    cards = (_object(details.get(name)) for name in ("card", "card_present"))
    return any(_object(card.get("multicapture")).get("status") == "available" for card in cards)


def _before(context: Context) -> int | None:
    """`amount_refunded` before the event; None where the event does not say that it changed."""
    before = context.previous.get("amount_refunded")
    return None if before is None else context.minor(before, "amount_refunded")


def _fell(refunded: int | None, context: Context) -> int:
    """By how much `amount_refunded` fell with this event, because refunds failed or were canceled."""
    before = _before(context)
    return 0 if refunded is None or before is None else max(0, before - refunded)


def _without_released(refunds: Sequence[Refund], released: int) -> list[Refund]:
    """The refunds without the first one of exactly the amount that was not captured."""
    oldest_first = sorted(refunds, key=lambda one: (one.began_at is not None, one.began_at or 0, one.id))
    rest = next((one for one in oldest_first if one.amount_minor == released), None)
    return [one for one in refunds if one is not rest]


#: How the id of a checkout session begins.
_SESSION: Final = "cs_"

_REFUND_STATES: Final = {
    "pending": RefundState.PENDING,
    "requires_action": RefundState.PENDING,
    "succeeded": RefundState.SUCCEEDED,
    "canceled": RefundState.CANCELED,
    "failed": RefundState.FAILED,
}


def _refund(refund: Json, context: Context) -> Part:
    charged = [refund.get("balance_transaction"), refund.get("failure_balance_transaction")]
    one = _refund_object(refund, context)
    return {
        "reference": _payment_of(refund, refund.get("charge")),
        "refunds": () if _is_release(refund) else (one,),
        **_fees(charged, context, FeeKind.PAYMENT),
    }


def _is_release(refund: Any) -> bool:
    """Whether it is the rest of a hold that was not captured: such a refund succeeds and moves no balance.

    It is left out, and not kept as canceled: should its balance transaction come later, it counts.
    """
    refund = _object(refund)
    moved = refund.get("balance_transaction", "unknown")
    return refund.get("status") == "succeeded" and moved is None


def _refund_object(refund: Any, context: Context) -> Refund:
    refund = _object(refund)
    state = _word(refund.get("status"), _REFUND_STATES, "a refund's status")
    return Refund(
        id=fields.identifier(refund.get("id"), "a refund's id"),
        amount_minor=context.minor(refund.get("amount"), "a refund's amount"),
        state=state,
        began_at=fields.instant(refund.get("created")),
        ended_at=context.at if state >= RefundState.CANCELED else None,
    )


_DISPUTE_STATES: Final = {
    "needs_response": DisputeState.OPEN,
    "under_review": DisputeState.OPEN,
    "won": DisputeState.WON,
    "lost": DisputeState.LOST,
    # the school refunded it instead: the refund reports where the money went
    "charge_refunded": DisputeState.WON,
    # an inquiry takes no money
    "warning_needs_response": DisputeState.INQUIRY,
    "warning_under_review": DisputeState.INQUIRY,
    "warning_closed": DisputeState.INQUIRY,
    # settled before it became a charge back; `_prevented` says whether by the school's money
    "prevented": DisputeState.WON,
}


def _dispute(dispute: Json, context: Context) -> Part:
    state = _word(dispute.get("status"), _DISPUTE_STATES, "data.object.status")
    if dispute["status"] == "prevented":
        state = _prevented(dispute, context)
    one = Dispute(
        id=fields.identifier(dispute.get("id"), "data.object.id"),
        # what is disputed, which can be less than the payment
        amount_minor=context.minor(dispute.get("amount"), "amount"),
        state=state,
        closed_at=context.at if state >= DisputeState.WON else None,
        reported_at=context.at,
    )
    return {
        "reference": _payment_of(dispute, dispute.get("charge")),
        "disputes": (one,),
        **_fees(_list(dispute.get("balance_transactions")), context, FeeKind.DISPUTE),
        "failure_reason": fields.description(dispute.get("reason")),
    }


def _prevented(dispute: Json, context: Context) -> DisputeState:
    """Whether the card's network paid the payer back with the school's money (Visa's Rapid Dispute Resolution).

    Where a refund did so instead, or nothing was taken, no movement of the balance belongs to the dispute.
    """
    movements = [_object(one).get("amount") for one in _list(dispute.get("balance_transactions"))]
    amounts = [one for one in movements if isinstance(one, int)]
    is_taken = sum(amounts) < 0 if amounts else context.kind == "charge.dispute.funds_withdrawn"
    return DisputeState.LOST if is_taken else DisputeState.WON


def _invoice(invoice: Json, context: Context) -> Part:
    """The payment that paid an invoice, where the event says which; newer versions of the API leave it out."""
    paid = context.minor(invoice.get("amount_paid"), "amount_paid")
    if paid == 0 or invoice.get("paid_out_of_band") is True:
        return {"failure_reason": "the provider collected nothing for this invoice"}
    attempts = [_object(one) for one in _list(invoice.get("payments"))]
    payments = [one for one in attempts if one.get("status") == "paid"]
    if len(payments) == 1:
        return {**_invoice_payment({"invoice": invoice.get("id"), **payments[0]}, context)}
    reference = _optional_id(invoice.get("payment_intent"), "payment_intent") or _optional_id(
        invoice.get("charge"), "charge"
    )
    return {
        "reference": reference if not payments else None,
        "invoice": fields.identifier(invoice.get("id"), "data.object.id"),
        "stage": Stage.COMPLETED,
        "amount_minor": paid,
        "authorized_minor": paid,
        "is_billed": True,
    }


def _invoice_payment(payment: Json, context: Context) -> Part:
    paid_by = fields.section(payment, "payment")
    reference = _optional_id(paid_by.get("payment_intent"), "payment_intent") or _optional_id(
        paid_by.get("charge"), "charge"
    )
    if reference is None:
        return {"failure_reason": "this invoice was paid outside the provider"}
    paid = context.minor(payment.get("amount_paid"), "amount_paid")
    return {
        "reference": reference,
        "invoice": _optional_id(payment.get("invoice"), "invoice"),
        "stage": Stage.COMPLETED,
        "amount_minor": paid,
        "authorized_minor": paid,
        "is_billed": True,
    }


def _subscription(subscription: Json, context: Context) -> Part:
    """It collects nothing itself; its metadata say who pays its invoices."""
    return {"failure_reason": "its invoices report what it costs"}


READERS: Final[Mapping[str, Reader]] = {
    "payment_intent.processing": _intent(Stage.PENDING),
    "payment_intent.amount_capturable_updated": _intent(Stage.AUTHORIZED),
    "payment_intent.succeeded": _intent(Stage.COMPLETED),
    "payment_intent.payment_failed": _intent(Stage.FAILED),
    "payment_intent.canceled": _intent(Stage.CANCELED),
    "checkout.session.completed": _session(Stage.COMPLETED),
    "checkout.session.async_payment_succeeded": _session(Stage.COMPLETED),
    "checkout.session.async_payment_failed": _session(Stage.FAILED),
    "checkout.session.expired": _session(Stage.EXPIRED),
    **dict.fromkeys(
        (
            "charge.captured",
            "charge.expired",
            "charge.failed",
            "charge.pending",
            "charge.refunded",
            "charge.succeeded",
            "charge.updated",
        ),
        _charge,
    ),
    **dict.fromkeys(("charge.refund.updated", "refund.created", "refund.failed", "refund.updated"), _refund),
    **dict.fromkeys(
        (
            "charge.dispute.closed",
            "charge.dispute.created",
            "charge.dispute.funds_reinstated",
            "charge.dispute.funds_withdrawn",
            "charge.dispute.updated",
        ),
        _dispute,
    ),
    **dict.fromkeys(("invoice.paid", "invoice.payment_succeeded"), _invoice),
    "invoice_payment.paid": _invoice_payment,
    **dict.fromkeys(
        (
            "customer.subscription.created",
            "customer.subscription.deleted",
            "customer.subscription.paused",
            "customer.subscription.pending_update_applied",
            "customer.subscription.pending_update_expired",
            "customer.subscription.resumed",
            "customer.subscription.trial_will_end",
            "customer.subscription.updated",
        ),
        _subscription,
    ),
}

#: The beginnings of the kinds that concern money. One of them that is neither read nor listed below is put aside.
MONEY: Final = (
    "application_fee.",
    "charge.",
    "checkout.session.",
    "credit_note.",
    "customer.subscription.",
    "customer_cash_balance_transaction.",
    "invoice.",
    "invoice_payment.",
    "issuing_dispute.",
    "issuing_transaction.",
    "payment_intent.",
    "payout.",
    "radar.",
    "refund.",
    "reserve.",
    "review.",
    "source.transaction.",
    "topup.",
    "transfer.",
    "treasury.",
)

_NOT_COLLECTED: Final = "nothing is collected by it yet"
_BILL: Final = "a bill is not a payment: invoice.paid reports when it is paid"
_WARNING: Final = "a warning moves no money: a refund or a dispute has events of its own"
_CREDIT_NOTE: Final = "what it refunds has events of its own, and what it credits lowers a later invoice"
_RESERVE: Final = "the provider keeps a part of its balance back for a while, and owes it to the school all the same"
_PAYOUT: Final = "a payout moves the provider's balance to the school's bank; the ledger ends at the provider"

#: What concerns money, moves none of a student's, and why.
NO_MONEY: Final[Mapping[str, str]] = {
    "payment_intent.created": _NOT_COLLECTED,
    "payment_intent.requires_action": _NOT_COLLECTED,
    "payment_intent.partially_funded": _NOT_COLLECTED,
    **dict.fromkeys(
        (
            "invoice.created",
            "invoice.deleted",
            "invoice.finalization_failed",
            "invoice.finalized",
            "invoice.marked_uncollectible",
            "invoice.overdue",
            "invoice.payment_action_required",
            "invoice.payment_attempt_required",
            "invoice.payment_failed",
            "invoice.sent",
            "invoice.upcoming",
            "invoice.updated",
            "invoice.voided",
            "invoice.will_be_due",
        ),
        _BILL,
    ),
    **dict.fromkeys(
        (
            "payout.canceled",
            "payout.created",
            "payout.failed",
            "payout.paid",
            "payout.reconciliation_completed",
            "payout.updated",
        ),
        _PAYOUT,
    ),
    **dict.fromkeys(("credit_note.created", "credit_note.updated", "credit_note.voided"), _CREDIT_NOTE),
    **dict.fromkeys(
        (
            "radar.early_fraud_warning.created",
            "radar.early_fraud_warning.updated",
            "review.closed",
            "review.opened",
        ),
        _WARNING,
    ),
    **dict.fromkeys(
        (
            "reserve.hold.created",
            "reserve.hold.updated",
            "reserve.plan.created",
            "reserve.plan.disabled",
            "reserve.plan.expired",
            "reserve.plan.updated",
            "reserve.release.created",
        ),
        _RESERVE,
    ),
}


def _payer(thing: Json) -> Part:
    """Who pays, and for what: from the object's own metadata, else from those of the objects that it belongs to."""
    parent = _object(_object(thing.get("parent")).get("subscription_details"))
    invoice, subscription = thing.get("invoice"), thing.get("subscription") or parent.get("subscription")
    named = [
        thing,
        thing.get("payment_intent"),
        thing.get("charge"),
        invoice,
        parent,
        thing.get("subscription_details"),
        subscription,
        thing.get("customer"),
    ]
    metadata = [_object(_object(one).get("metadata")) for one in named]
    ours = thing.get("client_reference_id")
    by_reference = fields.user_id(ours)
    orders = (fields.loose_identifier(one.get("order_id")) for one in metadata)
    mine = thing.get("id") if thing.get("object") in ("invoice", "subscription") else None
    payers = [_loose_id(one) for one in (mine, invoice, subscription, thing.get("customer"))]
    return {
        "user_id": next((user for one in metadata if (user := fields.user_id(one.get("user_id")))), by_reference),
        # a client reference that is no user can only be an order
        "order_number": next((order for order in orders if order), None)
        or (fields.loose_identifier(ours) if by_reference is None else None),
        "subscription_id": next(
            (one for one_metadata in metadata if (one := fields.user_id(one_metadata.get("subscription_id")))), None
        ),
        "payers": tuple(dict.fromkeys(one for one in payers if one)),
    }


def _payment_of(thing: Json, charge: Any) -> str:
    """What the events of one payment meet on: its intent, and where it has none its charge."""
    intent = _optional_id(thing.get("payment_intent"), "payment_intent")
    intent = intent or _optional_id(_object(charge).get("payment_intent"), "payment_intent")
    return intent or fields.identifier(_id(charge), "charge")


def _invoice_of(thing: Json) -> str | None:
    invoice = _loose_id(thing.get("invoice"))
    order = fields.loose_identifier(_object(thing.get("payment_details")).get("order_reference"))
    return invoice or (order if order is not None and order.startswith("in_") else None)


def _checkout_of(thing: Json) -> Part:
    """The checkout session in which it was paid: newer versions of the API name it, and its own event does."""
    order = fields.loose_identifier(_object(thing.get("payment_details")).get("order_reference"))
    is_session = order is not None and order.startswith(_SESSION)
    return {"checkout": order if is_session else None, "checkout_prefix": _SESSION}


def _fees(movements: Sequence[Any], context: Context, kind: FeeKind) -> Part:
    """The fees of these movements of the balance, where the event holds them and not only their ids.

    One in another currency (the account is settled in that) is not converted and cannot be booked: `unbooked` says so.
    """
    fees, unbooked = [], []
    for movement in movements:
        if not isinstance(movement, dict) or "fee" not in movement:
            continue
        fee = movement["fee"]
        is_number = isinstance(fee, int) and not isinstance(fee, bool)
        currency = fields.currency(movement.get("currency") or context.currency)
        amount_minor = replace(context, currency=currency).minor(abs(fee) if is_number else fee, "fee")
        if currency != context.currency and amount_minor:
            unbooked.append(f"the fee is {fee} {currency}, and the payment in {context.currency} (minor units)")
        elif amount_minor:
            identity = fields.identifier(movement.get("id"), "balance_transaction.id")
            fees.append(Fee(identity, amount_minor if fee > 0 else -amount_minor, kind))
    return {"fees": tuple(fees), "unbooked": "; ".join(dict.fromkeys(unbooked)) or None}


def _word(value: Any, words: Mapping[str, Any], name: str) -> Any:
    if not isinstance(value, str) or value not in words:
        raise UnreadableEventError(f"{name} must be one of {', '.join(words)}.")
    return words[value]


def _id(value: Any) -> Any:
    return value.get("id") if isinstance(value, dict) else value


def _optional_id(value: Any, name: str) -> str | None:
    return fields.optional_identifier(_id(value), name)


def _loose_id(value: Any) -> str | None:
    return fields.loose_identifier(_id(value))


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> Sequence[Any]:
    """What a list holds, whether it is one of JSON or Stripe's object for one."""
    found = value.get("data") if isinstance(value, dict) else value
    return found if isinstance(found, list) else []
