"""The domain's values: event, payment, subscription, and what a payment adds to its wallet."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from services.webhook_gateway.payments.objects import FeeKind
from services.webhook_gateway.payments.payment_state import PaymentState, Stage, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A webhook that was kept and is not settled yet.

    `attempts` counts the times it was parked, `tries` those of them that were not only waits for a turn; the first of
    these was at `taken_up_at`. A replay begins anew.
    """

    id: int
    provider: str
    method: str
    headers: Mapping[str, str]
    body: bytes
    received_at: datetime
    attempts: int = 0
    tries: int = 0
    taken_up_at: datetime | None = None
    #: An operator has accepted it as it is: what it reports replaces what was registered.
    accepted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """One row of `payments`. `fee_minor` is what the ledger has booked of the provider's fee for collecting it.

    `amount_minor` is what was collected, and before that what is to be: `amount_is_final` is false while only a hold or
    a failed attempt reported it, for less may be collected. `registered_minor` is what the checkout registered,
    kept when something else was collected; `amount_told_at` is the provider's time of the collection that counts.
    `subscription_id` is the subscription that it was made for, where somebody named one: the school's checkout
    (`registered_subscription_id`), else the provider's events.
    """

    id: int
    provider: str
    reference: str | None
    order_number: str | None
    user_id: int
    amount_minor: int
    currency: str
    state: PaymentState
    amount_is_final: bool = True
    registered_minor: int | None = None
    amount_told_at: datetime | None = None
    credited_minor: int = 0
    fee_minor: int = 0
    method: str | None = None
    failure_reason: str | None = None
    completed_at: datetime | None = None
    subscription_id: int | None = None
    registered_subscription_id: int | None = None

    @classmethod
    def begun(
        cls,
        provider: str,
        reference: str,
        *,
        order_number: str | None,
        user_id: int,
        amount_minor: int,
        currency: str,
        subscription_id: int | None,
    ) -> Self:
        """A payment that the school registers before its first webhook."""
        return cls(
            id=0,
            provider=provider,
            reference=reference,
            order_number=order_number,
            user_id=user_id,
            amount_minor=amount_minor,
            currency=currency,
            state=PaymentState(),
            subscription_id=subscription_id,
            registered_subscription_id=subscription_id,
        )

    @property
    def status(self) -> Status:
        """The word that the table shows."""
        return self.state.status(self.amount_minor)

    @property
    def registered(self) -> int | None:
        """What the school's checkout registered; None where nobody did: an attempt is no registration."""
        return self.amount_minor if self._is_registration else self.registered_minor

    @property
    def registered_subscription(self) -> int | None:
        """The subscription that the school's checkout registered; None where nobody did."""
        return self.subscription_id if self._is_registration else self.registered_subscription_id

    @property
    def reported_fee_minor(self) -> int:
        """The part of the fee that was reported as one figure, and not as fees of their own."""
        return self.fee_minor - self.state.fee_minor(FeeKind.PAYMENT)

    @property
    def _is_registration(self) -> bool:
        """Whether this is the row of the school's checkout, and no event has changed it."""
        return self.registered_minor is None and self.amount_is_final and self.state.stage is not Stage.COMPLETED


@dataclass(frozen=True, slots=True)
class Subscription:
    """A user's subscription that the wallet pays, or has paid: then `amount_minor` is what it paid.

    `is_kept` is true of one that ran when an earlier release, with another rule, was replaced.
    """

    id: int
    amount_minor: int
    created_at: datetime
    ends_at: datetime | None = None
    is_kept: bool = False

    def is_over(self, at: datetime) -> bool:
        """Whether its term has ended: it is neither paid nor given back any more."""
        return self.ends_at is not None and self.ends_at <= at


@dataclass(frozen=True, slots=True)
class Credit:
    """What a completed payment adds to its payer's wallet; `key` is the same in every order of events."""

    completed_at: datetime
    key: tuple[str, str]
    amount_minor: int
    subscription_id: int | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """What a provider's object (a customer, a subscription, an invoice) says about its payments: who pays, or which."""

    object_id: str
    user_id: int | None = None
    reference: str | None = None
