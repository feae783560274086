"""Converts payments, their objects and subscriptions to the JSON of their rows and back."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from services.webhook_gateway.payments.model import Credit, Payment, Subscription
from services.webhook_gateway.payments.objects import (
    Dispute,
    DisputeState,
    Fee,
    FeeKind,
    Refund,
    RefundState,
    Total,
)
from services.webhook_gateway.payments.payment_state import UNIDENTIFIED, PaymentState, Stage

Row = Mapping[str, Any]
_NO_DISPUTE = "none"


def read_payment(row: Row) -> Payment:
    """The payment of a row of `payments` with its `objects`."""
    return Payment(
        id=row["id"],
        provider=row["provider"],
        reference=row["provider_reference"],
        order_number=row["order_number"],
        user_id=row["user_id"],
        amount_minor=row["amount_minor"],
        amount_is_final=row["amount_is_final"],
        registered_minor=row["registered_minor"],
        amount_told_at=_instant(row["amount_told_at"]),
        currency=row["currency"],
        state=_payment_state(row),
        credited_minor=row["credited_minor"],
        fee_minor=row["fee_minor"] or 0,
        method=row["method"],
        failure_reason=row["failure_reason"],
        completed_at=_instant(row["completed_at"]),
        subscription_id=row["subscription_id"],
        registered_subscription_id=row["registered_subscription_id"],
    )


def write_payment(payment: Payment) -> Row:
    """What a settlement may write of a payment."""
    state = payment.state
    is_disputed = state.dispute is not DisputeState.INQUIRY
    return {
        "id": payment.id,
        "provider": payment.provider,
        "provider_reference": payment.reference,
        "order_number": payment.order_number,
        "user_id": payment.user_id,
        "amount_minor": payment.amount_minor,
        "amount_is_final": payment.amount_is_final,
        "registered_minor": payment.registered_minor,
        "amount_told_at": payment.amount_told_at,
        "currency": payment.currency,
        "status": payment.status,
        "refunded_minor": state.refunded_minor,
        "refunded_total_minor": state.refunded.amount_minor,
        "refunded_told_at": state.refunded.reported_at,
        "refunded_fell_minor": state.refunded.fell_minor or None,
        "dispute": state.dispute.name.lower() if is_disputed else _NO_DISPUTE,
        "credited_minor": payment.credited_minor,
        "fee_minor": payment.fee_minor or None,
        "method": payment.method,
        "failure_reason": payment.failure_reason,
        "completed_at": payment.completed_at,
        "subscription_id": payment.subscription_id,
        "registered_subscription_id": payment.registered_subscription_id,
    }


def write_objects(payment: Payment) -> Iterator[Row]:
    """The rows of `payment_objects` that a payment has."""
    state = payment.state
    for refund in state.refunds.values():
        yield _object(payment, "refund", refund, refund.state, refund.began_at, refund.ended_at, None)
    for dispute in state.disputes.values():
        yield _object(payment, "dispute", dispute, dispute.state, None, dispute.closed_at, dispute.reported_at)
    for fee in state.fees.values():
        yield _object(payment, "fee", fee, fee.kind, None, None, None)


def read_subscription(row: Row) -> Subscription:
    """The subscription of a row; `amount_minor` is its price, or what was paid for it."""
    return Subscription(
        id=row["id"],
        amount_minor=row["amount_minor"],
        created_at=datetime.fromisoformat(row["created_at"]),
        ends_at=_instant(row["ends_at"]),
        is_kept=row.get("is_kept", False),
    )


def read_credit(row: Row) -> Credit:
    """What a completed payment adds to its wallet."""
    key = (row["provider"], row["provider_reference"] or "")
    at = datetime.fromisoformat(row["completed_at"])
    return Credit(at, key, row["credited_minor"], row["subscription_id"])


def credit_of(payment: Payment) -> Credit | None:
    """The same of a payment that is at hand; None where it is not completed."""
    if payment.completed_at is None:
        return None
    key = (payment.provider, payment.reference or "")
    return Credit(payment.completed_at, key, payment.credited_minor, payment.subscription_id)


def _payment_state(row: Row) -> PaymentState:
    # every word beyond the unfinished stages means that the money was collected
    stage = Stage.__members__.get(row["status"].upper(), Stage.COMPLETED)
    objects: Sequence[Row] = row["objects"] or ()
    refunds = {one["object_id"]: _refund(one) for one in objects if one["kind"] == "refund"}
    # without refunds of their own the two are the same, but an earlier release writes the first alone
    total = row["refunded_total_minor"] if refunds else row["refunded_minor"]
    disputes = {one["object_id"]: _dispute(one) for one in objects if one["kind"] == "dispute"}
    if not disputes and row["dispute"] != _NO_DISPUTE:
        # one that an earlier release kept, which took all that was left of the payment
        left = max(0, row["amount_minor"] - row["refunded_minor"])
        disputes = {UNIDENTIFIED: Dispute(UNIDENTIFIED, left, DisputeState[row["dispute"].upper()])}
    return PaymentState(
        stage=stage,
        refunded=Total(total or 0, _instant(row["refunded_told_at"]), row["refunded_fell_minor"] or 0),
        refunds=refunds,
        disputes=disputes,
        fees={one["object_id"]: _fee(one) for one in objects if one["kind"] == "fee"},
    )


def _refund(row: Row) -> Refund:
    state = RefundState[row["state"].upper()]
    began_at, ended_at = _instant(row["began_at"]), _instant(row["ended_at"])
    return Refund(row["object_id"], row["amount_minor"], state, began_at, ended_at)


def _dispute(row: Row) -> Dispute:
    state = DisputeState[row["state"].upper()]
    ended_at, reported_at = _instant(row["ended_at"]), _instant(row["reported_at"])
    return Dispute(row["object_id"], row["amount_minor"], state, ended_at, reported_at)


def _fee(row: Row) -> Fee:
    return Fee(row["object_id"], row["amount_minor"], FeeKind[row["state"].upper()])


def _object(
    payment: Payment,
    kind: str,
    one: Refund | Dispute | Fee,
    state: RefundState | DisputeState | FeeKind,
    began_at: datetime | None,
    ended_at: datetime | None,
    reported_at: datetime | None,
) -> Row:
    return {
        "payment_id": payment.id,
        "kind": kind,
        "object_id": one.id,
        "state": state.name.lower(),
        "amount_minor": one.amount_minor,
        "began_at": began_at,
        "ended_at": ended_at,
        "reported_at": reported_at,
    }


def _instant(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value)
