"""The domain's values: event, payment, subscription."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from services.webhook_gateway.payments.payment_state import PaymentState, Status


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
    #: An operator has accepted it as it is: what it tells replaces what was registered.
    accepted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """One row of `payments`. `fee_minor` is what the ledger has booked of the provider's fee.

    `amount_is_final` is false while only a hold or a failed attempt told the amount: less may be collected.
    """

    id: int
    provider: str
    reference: str | None
    order_number: str | None
    user_id: int
    amount_minor: int
    currency: str
    standing: PaymentState
    amount_is_final: bool = True
    credited_minor: int = 0
    fee_minor: int = 0
    method: str | None = None
    failure_reason: str | None = None
    completed_at: datetime | None = None

    @property
    def status(self) -> Status:
        """The word that the table shows."""
        return self.standing.status(self.amount_minor)


@dataclass(frozen=True, slots=True)
class Subscription:
    """A user's subscription that the wallet pays, or has paid."""

    id: int
    amount_minor: int
