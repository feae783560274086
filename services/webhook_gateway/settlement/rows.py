"""Converts a payment to its row's JSON and back."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from services.webhook_gateway.payments.model import Payment
from services.webhook_gateway.payments.payment_state import Dispute, PaymentState, Stage


def read_payment(row: Mapping[str, Any]) -> Payment:
    """The payment of a row of `payments`."""
    # every word beyond the unfinished stages means that the money was collected
    stage = Stage.__members__.get(row["status"].upper(), Stage.COMPLETED)
    return Payment(
        id=row["id"],
        provider=row["provider"],
        reference=row["provider_reference"],
        order_number=row["order_number"],
        user_id=row["user_id"],
        amount_minor=row["amount_minor"],
        amount_is_final=row["amount_is_final"],
        currency=row["currency"],
        standing=PaymentState(stage, row["refunded_minor"], Dispute[row["dispute"].upper()]),
        credited_minor=row["credited_minor"],
        fee_minor=row["fee_minor"] or 0,
        method=row["method"],
        failure_reason=row["failure_reason"],
        completed_at=row["completed_at"] and datetime.fromisoformat(row["completed_at"]),
    )


def write_payment(payment: Payment) -> Mapping[str, Any]:
    """What a settlement may write of a payment."""
    return {
        "id": payment.id,
        "provider": payment.provider,
        "provider_reference": payment.reference,
        "order_number": payment.order_number,
        "user_id": payment.user_id,
        "amount_minor": payment.amount_minor,
        "amount_is_final": payment.amount_is_final,
        "currency": payment.currency,
        "status": payment.status,
        "refunded_minor": payment.standing.refunded_minor,
        "dispute": payment.standing.dispute.name.lower(),
        "credited_minor": payment.credited_minor,
        "fee_minor": payment.fee_minor or None,
        "method": payment.method,
        "failure_reason": payment.failure_reason,
        "completed_at": payment.completed_at,
    }
