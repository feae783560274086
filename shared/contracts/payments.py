"""Messages from the payments worker to the statistics: payments were settled."""

from dataclasses import dataclass
from datetime import date
from typing import ClassVar

from shared.contracts.message import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentSettled(Message):
    """A payment was booked or changed; the statistics of `day` (in the school's zone) are no longer right."""

    name: ClassVar[str] = "payments.settled"
    payment_id: int
    day: date


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentsSettled(Message):
    """Payments were booked or changed in one transaction: `payment_ids[n]` changed the statistics of `days[n]`.

    A release before 0.3 does not know it: one payment alone has the message above.
    """

    name: ClassVar[str] = "payments.settled"
    version: ClassVar[int] = 2
    payment_ids: tuple[int, ...]
    days: tuple[date, ...]
