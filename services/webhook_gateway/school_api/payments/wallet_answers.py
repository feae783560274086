"""Wallets and subscriptions as JSON answers of the API."""

from datetime import datetime
from typing import Literal, Self

from pydantic import AwareDatetime, Field

from services.webhook_gateway.api.response_model import ResponseModel
from shared.operations.payments.wallet_statement import Wallet


class WalletEntry(ResponseModel):
    """One movement of the wallet, and what caused it."""

    transaction_id: int
    at: AwareDatetime
    kind: str
    amount_minor: int
    currency: str
    balance_minor: int = Field(description="The balance after it.")
    payment_id: int | None
    event_id: int | None
    subscription_id: int | None


class WalletAnswer(ResponseModel):
    """A user's wallet. Amounts are minor units."""

    user_id: int
    at: AwareDatetime | None = Field(description="As it was asked for; null for now.")
    currency: str
    balance_minor: int
    entries: list[WalletEntry] = Field(description="The newest first.")
    has_more: bool = Field(description="Whether there are older entries than these.")

    @classmethod
    def of(cls, wallet: Wallet, at: datetime | None) -> Self:
        entries = [
            WalletEntry(
                transaction_id=one.posting_id,
                at=one.at,
                kind=one.kind,
                amount_minor=one.amount_minor,
                currency=one.currency,
                balance_minor=one.balance_minor,
                payment_id=one.payment_id,
                event_id=one.event_id,
                subscription_id=one.subscription_id,
            )
            for one in wallet.entries
        ]
        return cls(
            user_id=wallet.user_id,
            at=at,
            currency=wallet.currency,
            balance_minor=wallet.balance_minor,
            entries=entries,
            has_more=wallet.has_more,
        )


class SubscriptionAnswer(ResponseModel):
    """A subscription, and why it is active or not."""

    id: int
    chapter_id: int | None
    amount_minor: int
    status: Literal["pending_payment", "active", "expired", "cancelled"]
    is_active: bool
    reason: str = Field(description="Why it is active or not, in a sentence.")
    created_at: AwareDatetime
    activated_at: AwareDatetime | None
    ends_at: AwareDatetime | None


class SubscriptionList(ResponseModel):
    """A user's subscriptions."""

    items: list[SubscriptionAnswer]
