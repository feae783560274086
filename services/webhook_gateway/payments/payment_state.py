"""The state of a payment, and how a notice changes it: only ever forward.

Providers repeat themselves and deliver in any order.
So a payment's standing is three facts, each of which only grows, and news are merged by taking the larger of each.
Merging is commutative, associative and idempotent: every order and repetition of the same events ends the same.
"""

from dataclasses import dataclass
from enum import IntEnum, StrEnum


class Stage(IntEnum):
    """How far the collection of the money came; a later line outranks an earlier one.

    `COMPLETED` stands last, so that nothing told later or earlier undoes money that was collected.
    """

    PENDING = 0
    AUTHORIZED = 1
    EXPIRED = 2
    CANCELED = 3
    FAILED = 4
    COMPLETED = 5


class Dispute(IntEnum):
    """Whether the payer's bank claims the money back; the money is withheld while a dispute is open or lost."""

    NONE = 0
    OPEN = 1
    WON = 2
    LOST = 3


class Status(StrEnum):
    """The one word that table `payments` shows."""

    PENDING = "pending"
    AUTHORIZED = "authorized"
    EXPIRED = "expired"
    CANCELED = "canceled"
    FAILED = "failed"
    COMPLETED = "completed"
    PARTIALLY_REFUNDED = "partially_refunded"
    REFUNDED = "refunded"
    DISPUTED = "disputed"
    CHARGED_BACK = "charged_back"


@dataclass(frozen=True, slots=True)
class PaymentState:
    """All that is known of a payment's progress. `refunded_minor` is the total given back so far."""

    stage: Stage = Stage.PENDING
    refunded_minor: int = 0
    dispute: Dispute = Dispute.NONE

    def merge(self, news: "PaymentState") -> "PaymentState":
        """The standing after `news`; the same whichever of the two came first."""
        return PaymentState(
            max(self.stage, news.stage),
            max(self.refunded_minor, news.refunded_minor),
            max(self.dispute, news.dispute),
        )

    def status(self, amount_minor: int) -> Status:
        """The word for this standing of a payment of `amount_minor`."""
        if self.stage is not Stage.COMPLETED:
            return Status[self.stage.name]
        if self.dispute is Dispute.LOST:
            return Status.CHARGED_BACK
        if self.dispute is Dispute.OPEN:
            return Status.DISPUTED
        if self.refunded_minor >= amount_minor > 0:
            return Status.REFUNDED
        return Status.PARTIALLY_REFUNDED if self.refunded_minor else Status.COMPLETED

    def credit_minor(self, amount_minor: int) -> int:
        """What the payer's wallet holds of this payment, in minor units: never negative, never more than was paid."""
        if self.stage is not Stage.COMPLETED or self.dispute in (Dispute.OPEN, Dispute.LOST):
            return 0
        return max(0, amount_minor - self.refunded_minor)
