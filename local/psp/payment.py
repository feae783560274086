"""A payment as a provider knows it, and the names of its objects."""

import hashlib
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """One payment as the provider knows it.

    `refunded_minor` is what was refunded so far, `captured_minor` what was captured of a hold, and `disputed_minor`
    what a dispute is about; 0 means all of it. `second_dispute_minor` is what a second dispute is about; 0 means as
    much as the first.
    The rest is Stripe's: the fees are those of its balance transactions, in `fee_currency`; where `is_expanded`, events
    hold whole objects in place of their ids; `account` is the connected account that an event is of.
    """

    reference: str
    amount_minor: int
    user_id: int | None = None
    order_number: str | None = None
    currency: str = "DZD"
    refunded_minor: int = 0
    captured_minor: int = 0
    disputed_minor: int = 0
    second_dispute_minor: int = 0
    subscription_id: int | None = None
    fee_minor: int = 0
    dispute_fee_minor: int = 0
    fee_currency: str | None = None
    is_expanded: bool = False
    is_live: bool = False
    account: str | None = None
    api_version: str | None = None


def digest(*parts: str) -> str:
    """A short name made of others, so that the same payment always has the same ids."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:26]
