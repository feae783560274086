"""Nouba's own JSON payload, of `generic` and `standard_webhooks`: fields and status words."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from services.webhook_gateway.errors import UnreadableEventError
from services.webhook_gateway.payments.payment_state import Stage
from services.webhook_gateway.providers import fields

REFUNDED: Final = "refunded"

_STAGES: Final[Mapping[str, Stage]] = {
    "completed": Stage.COMPLETED,
    "failed": Stage.FAILED,
    "canceled": Stage.CANCELED,
    "pending": Stage.PENDING,
    # that money was given back does not prove how much was collected: the stage is another event's news
    REFUNDED: Stage.PENDING,
}
_SYNONYMS: Final[Mapping[str, str]] = {
    "paid": "completed",
    "success": "completed",
    "declined": "failed",
    "cancelled": "canceled",
    "processing": "pending",
}


class ParsedPayload(NamedTuple):
    """What such a body says. `amount_minor` is None for a refund, whose amount is the total given back so far."""

    reference: str
    order_number: str | None
    user_id: int | None
    stage: Stage
    amount_minor: int | None
    refunded_minor: int | None
    currency: str
    subscription_id: int | None


def status_word(value: Any) -> str:
    """The one word for a status that may have several. Raises UnreadableEventError for a word we do not know."""
    word = value.lower() if isinstance(value, str) else ""
    word = _SYNONYMS.get(word, word)
    if word not in _STAGES:
        known = ", ".join([*_STAGES, *_SYNONYMS])
        raise UnreadableEventError(f"The status must be one of {known}.")
    return word


def read(body: Mapping[str, Any], status: str) -> ParsedPayload:
    """What `body` says of a payment whose status is the word `status`."""
    amount_minor = fields.amount_minor(body.get("amount"), "amount")
    is_refund = status == REFUNDED
    return ParsedPayload(
        reference=fields.identifier(body.get("transaction_id"), "transaction_id"),
        order_number=fields.optional_identifier(body.get("order_id"), "order_id"),
        user_id=fields.user_id(body.get("user_id")),
        stage=_STAGES[status],
        amount_minor=None if is_refund else amount_minor,
        refunded_minor=amount_minor if is_refund else None,
        currency=fields.currency(body.get("currency")),
        subscription_id=fields.user_id(body.get("subscription_id")),
    )
