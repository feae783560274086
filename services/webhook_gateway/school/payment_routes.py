"""The HTTP by which the school's back end says that a payment has begun."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from flask import Blueprint, current_app, jsonify
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from services.webhook_gateway import errors
from services.webhook_gateway.body import BodyReader
from services.webhook_gateway.payments.books import Books, again_if_overtaken
from services.webhook_gateway.payments.expect import expect
from services.webhook_gateway.payments.payment import Payment
from services.webhook_gateway.payments.states import Standing
from services.webhook_gateway.psps.base import Psp
from services.webhook_gateway.psps.fields import BIGINT_MAX, IDENTIFIER_LIMIT_CHARACTERS, LARGEST_AMOUNT_MINOR
from services.webhook_gateway.school.desk import authorise, read_json

payments = Blueprint("payments", __name__)

Identifier = Annotated[
    str, StringConstraints(min_length=1, max_length=IDENTIFIER_LIMIT_CHARACTERS, pattern=r"^[\x21-\x7e]+$")
]


@dataclass(frozen=True, slots=True)
class Payments:
    """What the route is given; kept in `app.extensions["payments"]`."""

    tokens: tuple[bytes, ...]
    psps: Mapping[str, Psp]
    books: Callable[[], AbstractContextManager[Books]]
    currency: str
    bodies: BodyReader


class ExpectedBody(BaseModel):
    """A payment that a payer has been sent to the provider for."""

    model_config = ConfigDict(strict=True)
    provider: Identifier
    provider_reference: Identifier = Field(
        description="The provider's id of it: Chargily's checkout, SATIM's orderId (mdOrder), Stripe's payment intent."
    )
    order_number: Identifier | None = Field(default=None, description="The school's own number of it.")
    user_id: int = Field(ge=1, le=BIGINT_MAX)
    amount: int = Field(ge=0, le=LARGEST_AMOUNT_MINOR, description="Minor units.")
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] | None = Field(
        default=None, description="ISO 4217; the school's own unless told, and no other."
    )


@payments.post("/api/payments", provide_automatic_options=False)
def expect_payment() -> ResponseReturnValue:
    given: Payments = current_app.extensions["payments"]
    authorise(given.tokens)
    body = read_json(ExpectedBody, given.bodies, errors.BadPayment)
    psp = given.psps.get(body.provider)
    if psp is None:
        raise errors.UnknownProvider(f"No provider {body.provider[:40]!r} is switched on here.")
    if body.currency not in (None, given.currency):
        raise errors.BadPayment(f"currency: the school's wallets are in {given.currency}.")
    payment = Payment(
        id=0,
        # two addresses can be one provider
        provider=psp.name,
        reference=body.provider_reference,
        order_number=body.order_number,
        user_id=body.user_id,
        amount_minor=body.amount,
        currency=given.currency,
        standing=Standing(),
    )

    def write() -> Payment:
        with given.books() as books:
            return expect(payment, books, datetime.now(UTC))

    known = again_if_overtaken(write)
    return jsonify(payment_id=known.id, status=known.status)
