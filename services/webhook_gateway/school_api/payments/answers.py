"""Payments as JSON answers of the API."""

from typing import Annotated, Self

from pydantic import AwareDatetime, Field, StringConstraints

from services.webhook_gateway.api.pages import Id, PageQuery
from services.webhook_gateway.api.response_model import ResponseModel
from services.webhook_gateway.payments.payment_state import Status
from services.webhook_gateway.providers.fields import IDENTIFIER_LIMIT_CHARACTERS
from shared.operations.payments.queries import PaymentDetails, PaymentLine, Posting

Identifier = Annotated[
    str, StringConstraints(min_length=1, max_length=IDENTIFIER_LIMIT_CHARACTERS, pattern=r"^[\x21-\x7e]+$")
]


class PaymentQuery(PageQuery):
    """Which payments are wanted; all that is given has to hold."""

    reference: Identifier | None = Field(None, description="The provider's id of the payment.")
    order_number: Identifier | None = Field(None, description="The school's own number.")
    user_id: Id | None = None
    status: Status | None = None


class PaymentSummary(ResponseModel):
    """One payment. Amounts are minor units."""

    id: int
    provider: str
    reference: str | None = Field(description="The provider's id; null until the provider has sent it.")
    order_number: str | None
    user_id: int
    amount_minor: int
    currency: str
    status: Status
    method: str | None
    refunded_minor: int
    credited_minor: int = Field(description="What the payer's wallet holds of it.")
    fee_minor: int
    failure_reason: str | None
    created_at: AwareDatetime
    completed_at: AwareDatetime | None
    registered_minor: int | None = Field(description="What was registered, where another amount was collected.")
    subscription_id: int | None = Field(description="The subscription that it pays first.")

    @classmethod
    def of(cls, line: PaymentLine) -> Self:
        return cls.model_validate(line)


class PaymentPage(ResponseModel):
    """Payments, the newest first."""

    items: list[PaymentSummary]
    next_cursor: str | None = Field(description="The `cursor` of the next page; null on the last one.")


class ProviderObject(ResponseModel):
    """A capture, a refund, a dispute or a fee, as the provider has it."""

    object_id: str
    state: str
    amount_minor: int


class Capture(ProviderObject):
    """Money that was collected."""

    captured_at: AwareDatetime | None


class Refund(ProviderObject):
    """Money that goes back to the payer."""

    began_at: AwareDatetime | None
    ended_at: AwareDatetime | None


class Dispute(ProviderObject):
    """A payer's complaint at the card's bank."""

    began_at: AwareDatetime | None
    ended_at: AwareDatetime | None


class Fee(ProviderObject):
    """What the provider keeps; its state is its kind."""


class EventOfPayment(ResponseModel):
    """A webhook about the payment."""

    id: int
    received_at: AwareDatetime
    state: str
    resolution: str | None
    reason: str | None


class LedgerEntry(ResponseModel):
    """One side of a ledger transaction."""

    account: str
    amount_minor: int
    currency: str


class LedgerTransaction(ResponseModel):
    """What was booked together; the entries sum to 0."""

    id: int
    kind: str
    at: AwareDatetime
    event_id: int | None
    entries: list[LedgerEntry]

    @classmethod
    def of(cls, posting: Posting) -> Self:
        entries = [
            LedgerEntry(account=account, amount_minor=amount, currency=currency)
            for account, amount, currency in posting.entries
        ]
        return cls(id=posting.id, kind=posting.kind, at=posting.at, event_id=posting.event_id, entries=entries)


class PaymentAnswer(PaymentSummary):
    """One payment with all that happened to it."""

    captures: list[Capture]
    refunds: list[Refund]
    disputes: list[Dispute]
    fees: list[Fee]
    events: list[EventOfPayment]
    transactions: list[LedgerTransaction]
    other_payment_ids: list[int] = Field(description="Other payments of the same order.")
    notes: list[str] = Field(description="Where the payment stands, in sentences.")

    @classmethod
    def of_details(cls, found: PaymentDetails) -> Self:
        by_kind: dict[str, list[dict[str, object]]] = {"capture": [], "refund": [], "dispute": [], "fee": []}
        for one in found.objects:
            known = {"object_id": one.object_id, "state": one.state, "amount_minor": one.amount_minor}
            times = {"began_at": one.began_at, "ended_at": one.ended_at} if one.kind in ("refund", "dispute") else {}
            times |= {"captured_at": one.began_at} if one.kind == "capture" else {}
            by_kind[one.kind].append(known | times)
        return cls.model_validate(
            {
                **PaymentSummary.of(found.payment).model_dump(),
                "captures": by_kind["capture"],
                "refunds": by_kind["refund"],
                "disputes": by_kind["dispute"],
                "fees": by_kind["fee"],
                "events": [EventOfPayment.model_validate(event) for event in found.events],
                "transactions": [LedgerTransaction.of(one) for one in found.postings],
                "other_payment_ids": [one.id for one in found.others],
                "notes": list(found.notes),
            }
        )
