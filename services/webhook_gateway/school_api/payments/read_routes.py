"""Routes that read payments, wallets and subscriptions."""

from dataclasses import dataclass

from flask import Blueprint, current_app
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Engine

from services.webhook_gateway import errors
from services.webhook_gateway.api.operations import operation
from services.webhook_gateway.api.pages import Instant, read_page
from services.webhook_gateway.school_api.payments.answers import (
    PaymentAnswer,
    PaymentPage,
    PaymentQuery,
    PaymentSummary,
)
from services.webhook_gateway.school_api.payments.wallet_answers import (
    SubscriptionAnswer,
    SubscriptionList,
    WalletAnswer,
)
from shared.operations.payments.queries import PaymentFilter, find_payments, show_payment
from shared.operations.payments.wallet_statement import read_wallet
from shared.runtime.api_tokens import Scope

reading = Blueprint("reading", __name__)

MAX_ENTRIES = 1000


@dataclass(frozen=True, slots=True)
class Reading:
    """What the routes are given; kept in `app.extensions["reading"]`."""

    engine: Engine
    currency: str


class WalletQuery(BaseModel):
    """Of when the statement is."""

    model_config = ConfigDict(frozen=True)
    at: Instant | None = Field(None, description="The statement up to this instant; now where it is not given.")


@reading.get("/api/v1/payments", provide_automatic_options=False)
@operation(
    summary="Payments, the newest first",
    scope=Scope.READ,
    query=PaymentQuery,
    answer=PaymentPage,
    answer_text="A page of them.",
)
def list_payments(query: PaymentQuery) -> PaymentPage:
    wanted = PaymentFilter(
        reference=query.reference, order_number=query.order_number, user_id=query.user_id, status=query.status
    )
    page, next_cursor = read_page(
        query,
        lambda limit, before_id: find_payments(_given().engine, wanted, limit=limit, before_id=before_id),
        lambda line: line.id,
    )
    return PaymentPage(items=[PaymentSummary.of(line) for line in page], next_cursor=next_cursor)


@reading.get("/api/v1/payments/<int(max=9223372036854775807):payment_id>", provide_automatic_options=False)
@operation(
    summary="One payment with its captures, refunds, disputes, events and ledger entries",
    scope=Scope.READ,
    answer=PaymentAnswer,
    answer_text="The payment.",
    refusals=(errors.UnknownPaymentError,),
    has_etag=True,
)
def read_payment(payment_id: int) -> PaymentAnswer:
    found = show_payment(_given().engine, payment_id)
    if found is None:
        raise errors.UnknownPaymentError(payment_id)
    return PaymentAnswer.of_details(found)


@reading.get("/api/v1/users/<int(max=9223372036854775807):user_id>/wallet", provide_automatic_options=False)
@operation(
    summary="A user's wallet: the balance and its statement",
    description=f"The newest {MAX_ENTRIES} entries, each with the balance after it.",
    scope=Scope.READ,
    query=WalletQuery,
    answer=WalletAnswer,
    answer_text="The wallet.",
    refusals=(errors.UnknownUserError,),
    has_etag=True,
)
def read_user_wallet(user_id: int, query: WalletQuery) -> WalletAnswer:
    found = read_wallet(_given().engine, user_id, _given().currency, at=query.at, limit=MAX_ENTRIES)
    if found is None:
        raise errors.UnknownUserError(user_id)
    return WalletAnswer.of(found, query.at)


@reading.get("/api/v1/users/<int(max=9223372036854775807):user_id>/subscriptions", provide_automatic_options=False)
@operation(
    summary="A user's subscriptions, and why each is active or not",
    scope=Scope.READ,
    answer=SubscriptionList,
    answer_text="All of them, the oldest first.",
    refusals=(errors.UnknownUserError,),
    has_etag=True,
)
def read_user_subscriptions(user_id: int) -> SubscriptionList:
    found = read_wallet(_given().engine, user_id, _given().currency, limit=1)
    if found is None:
        raise errors.UnknownUserError(user_id)
    return SubscriptionList(items=[SubscriptionAnswer.model_validate(one) for one in found.subscriptions])


def _given() -> Reading:
    found: Reading = current_app.extensions["reading"]
    return found
