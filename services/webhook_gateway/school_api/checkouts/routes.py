"""Route by which the school's back end creates a checkout."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from flask import Blueprint, current_app
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, WithJsonSchema

from services.webhook_gateway import errors
from services.webhook_gateway.api.operations import acting_token, operation
from services.webhook_gateway.api.response_model import ResponseModel
from services.webhook_gateway.providers.base import CreatesCheckouts, Provider
from services.webhook_gateway.providers.fields import BIGINT_MAX, LARGEST_AMOUNT_MINOR
from services.webhook_gateway.school_api.checkouts.checkouts import (
    CheckoutRequest,
    Checkouts,
    ReturnUrls,
    create_checkout,
)
from services.webhook_gateway.school_api.payments.answers import Identifier
from shared.runtime.api_tokens import Scope

checkouts = Blueprint("checkouts", __name__)


@dataclass(frozen=True, slots=True)
class CheckoutApi:
    """What the route is given; kept in `app.extensions["checkouts"]`."""

    providers: Mapping[str, Provider]
    checkouts: Checkouts
    currency: str
    return_urls: ReturnUrls


class CheckoutBody(BaseModel):
    """What a payer is to be sent to a provider for."""

    model_config = ConfigDict(strict=True, extra="forbid")
    provider: Identifier = Field(description="chargily, satim or stripe.")
    user_id: int = Field(ge=1, le=BIGINT_MAX, description="Who pays.")
    order_number: Identifier = Field(
        description="The school's own number; an order has one checkout. SATIM takes 1 to 10 letters and digits."
    )
    amount_minor: int = Field(ge=1, le=LARGEST_AMOUNT_MINOR, description="Minor units.")
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] = Field(
        description="ISO 4217; the school's own."
    )
    subscription_id: int | None = Field(
        default=None, ge=1, le=BIGINT_MAX, description="The subscription that it pays first."
    )
    return_url: Annotated[str, StringConstraints(min_length=1, max_length=1000)] = Field(
        description="Where the payer comes back to; it begins with one of NOUBA_CHECKOUT_RETURN_URLS."
    )


class CheckoutAnswer(ResponseModel):
    """A payment that is registered, and where its payer goes."""

    payment_id: int = Field(ge=1)
    redirect_url: Annotated[str, WithJsonSchema({"type": "string", "format": "uri"})] = Field(
        description="Send the payer there."
    )


@checkouts.post("/api/v1/checkouts", provide_automatic_options=False)
@operation(
    summary="Create a checkout at a provider, and register its payment",
    description="An order has one checkout: asking again returns the same one.",
    scope=Scope.PAYMENTS,
    body=CheckoutBody,
    answer=CheckoutAnswer,
    answer_text="The payment is registered; send the payer to `redirect_url`.",
    status=201,
    is_idempotent=True,
    refusals=(
        errors.UnknownProviderError,
        errors.UnknownUserError,
        errors.ConflictingCheckoutError,
        errors.CheckoutInProgressError,
        errors.CheckoutRefusedError,
        errors.ProviderUnavailableError,
    ),
)
def open_checkout(body: CheckoutBody) -> CheckoutAnswer:
    given: CheckoutApi = current_app.extensions["checkouts"]
    psp = given.providers.get(body.provider)
    if psp is None:
        raise errors.UnknownProviderError(f"No provider {body.provider[:40]!r} is switched on here.")
    if not isinstance(psp, CreatesCheckouts):
        raise errors.CheckoutRefusedError(
            f"Nouba creates no checkouts at {psp.name}; at stripe it does with NOUBA_PSP_STRIPE_API_KEY."
        )
    if body.currency != given.currency:
        raise errors.BadRequestError(f"currency: the school's wallets are in {given.currency}.")
    given.return_urls.require(body.return_url)
    wanted = CheckoutRequest(**body.model_dump(exclude={"provider"}))
    made = create_checkout(psp, wanted, acting_token().name, given.checkouts)
    return CheckoutAnswer(payment_id=made.payment_id, redirect_url=made.redirect_url)
