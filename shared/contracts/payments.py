"""Messages of the payments worker."""

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
