"""Route that registers a payment before it is paid."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from flask import Blueprint, current_app
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from services.webhook_gateway import errors
from services.webhook_gateway.api.operations import operation
from services.webhook_gateway.api.response_model import ResponseModel
from services.webhook_gateway.payments.model import Payment
from services.webhook_gateway.payments.payment_state import Status
from services.webhook_gateway.providers.base import Provider
from services.webhook_gateway.providers.fields import BIGINT_MAX, LARGEST_AMOUNT_MINOR
from services.webhook_gateway.school_api.payments.answers import Identifier
from services.webhook_gateway.settlement.register_payment import register_payment
from services.webhook_gateway.settlement.settlement_store import SettlementStore, retry_on_conflict
from shared.runtime.api_tokens import Scope

payments = Blueprint("payments", __name__)


@dataclass(frozen=True, slots=True)
class Payments:
    """What the route is given; kept in `app.extensions["payments"]`."""

    providers: Mapping[str, Provider]
    books: Callable[[], AbstractContextManager[SettlementStore]]
    currency: str


class ExpectedBody(BaseModel):
    """A payment that a payer has been sent to the provider for."""

    model_config = ConfigDict(strict=True)
    provider: Identifier
    provider_reference: Identifier = Field(
        description="The provider's id of it: Chargily's checkout, SATIM's orderId (mdOrder), Stripe's payment intent "
        "or checkout session."
    )
    order_number: Identifier | None = Field(default=None, description="The school's own number of it.")
    user_id: int = Field(ge=1, le=BIGINT_MAX)
    amount: int = Field(ge=0, le=LARGEST_AMOUNT_MINOR, description="Minor units.")
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] | None = Field(
        default=None, description="ISO 4217; the school's own unless given, and no other."
    )
    subscription_id: int | None = Field(
        default=None, ge=1, le=BIGINT_MAX, description="The subscription that it pays first; else the oldest that fits."
    )


class ExpectedAnswer(ResponseModel):
    """A payment that is known."""

    payment_id: int = Field(ge=1)
    status: Status


@payments.post("/api/payments", provide_automatic_options=False)
@payments.post("/api/v1/payments", provide_automatic_options=False)
@operation(
    summary="A payer has been sent to a provider. May be sent again",
    description="Without it a payment is first known by its first webhook, and nobody polls the provider for a payment "
    "whose every webhook is lost.",
    scope=Scope.PAYMENTS,
    body=ExpectedBody,
    answer=ExpectedAnswer,
    answer_text="The payment is known, and its provider is polled if it stays unfinished.",
    fault=errors.BadPaymentError,
    refusals=(errors.UnknownProviderError, errors.UnknownUserError, errors.ConflictingPaymentError),
    is_idempotent=True,
)
def expect_payment(body: ExpectedBody) -> ExpectedAnswer:
    given: Payments = current_app.extensions["payments"]
    psp = given.providers.get(body.provider)
    if psp is None:
        raise errors.UnknownProviderError(f"No provider {body.provider[:40]!r} is switched on here.")
    if body.currency not in (None, given.currency):
        raise errors.BadPaymentError(f"currency: the school's wallets are in {given.currency}.")
    payment = Payment.begun(
        # two addresses can be one provider
        psp.name,
        body.provider_reference,
        order_number=body.order_number,
        user_id=body.user_id,
        amount_minor=body.amount,
        currency=given.currency,
        subscription_id=body.subscription_id,
    )

    def write() -> Payment:
        with given.books() as books:
            return register_payment(payment, books, datetime.now(UTC))

    known = retry_on_conflict(write)
    return ExpectedAnswer(payment_id=known.id, status=known.status)
