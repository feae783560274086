"""The state of a payment, and how a notice changes it.

Providers repeat themselves and deliver in any order. So a payment's state is facts, each of which merges with news of
itself: how far the collection came takes the larger, a cumulative figure takes the newest, and each of the provider's
objects (refund, dispute, fee) merges by its id.
Merging is commutative, associative and idempotent: every order and repetition of the same events ends the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Final

from services.webhook_gateway.payments.objects import (
    Dispute,
    DisputeState,
    Fee,
    FeeKind,
    Refund,
    Total,
    merge_objects,
    refunded_minor,
)

#: The id of a dispute that was kept before disputes were kept one by one; every other one takes its place.
UNIDENTIFIED: Final = ""


class Stage(IntEnum):
    """How far the collection of the money came; a later line outranks an earlier one.

    `COMPLETED` stands last, so that nothing reported later or earlier undoes money that was collected.
    """

    PENDING = 0
    AUTHORIZED = 1
    EXPIRED = 2
    CANCELED = 3
    FAILED = 4
    COMPLETED = 5


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
    """All that is known of a payment's progress. `refunded` is the cumulative figure, where a provider reports one."""

    stage: Stage = Stage.PENDING
    refunded: Total = field(default_factory=Total)
    refunds: Mapping[str, Refund] = field(default_factory=dict)
    disputes: Mapping[str, Dispute] = field(default_factory=dict)
    fees: Mapping[str, Fee] = field(default_factory=dict)

    def merge(self, news: "PaymentState") -> "PaymentState":
        """The state after `news`; the same whichever of the two came first."""
        return PaymentState(
            max(self.stage, news.stage),
            self.refunded.merge(news.refunded),
            merge_objects(self.refunds, news.refunds.values()),
            merge_objects(self.disputes, news.disputes.values()),
            merge_objects(self.fees, news.fees.values()),
        )

    def status(self, amount_minor: int) -> Status:
        """The word for this state of a payment of `amount_minor`."""
        if self.stage is not Stage.COMPLETED:
            return Status[self.stage.name]
        if self.dispute is DisputeState.LOST:
            return Status.CHARGED_BACK
        if self.dispute is DisputeState.OPEN:
            return Status.DISPUTED
        refunded = self.refunded_minor
        if refunded >= amount_minor > 0:
            return Status.REFUNDED
        return Status.PARTIALLY_REFUNDED if refunded else Status.COMPLETED

    @property
    def refunded_minor(self) -> int:
        """All that is refunded now."""
        return refunded_minor(self.refunded, self.refunds.values())

    @property
    def dispute(self) -> DisputeState:
        """Of several disputes the one that an operator has to know of: an open one, else a lost one, else a won one."""
        if not self.disputes:
            return DisputeState.INQUIRY
        urgency = (DisputeState.OPEN, DisputeState.LOST, DisputeState.WON)
        states = {dispute.state for dispute in self._disputes()}
        return next((state for state in urgency if state in states), DisputeState.INQUIRY)

    @property
    def withheld_minor(self) -> int:
        """What banks hold until the disputes about it are decided."""
        return sum(one.amount_minor for one in self._disputes() if one.state is DisputeState.OPEN and one.id)

    @property
    def lost_minor(self) -> int:
        """What disputes took for good; and an old dispute, of which no more was kept than what it took."""
        taken = {DisputeState.LOST}
        return sum(
            one.amount_minor
            for one in self._disputes()
            if one.state in taken or (one.state is DisputeState.OPEN and not one.id)
        )

    def fee_minor(self, kind: FeeKind) -> int:
        """What the provider charged by the fees that are known one by one."""
        return sum(fee.amount_minor for fee in self.fees.values() if fee.kind is kind)

    def credit_minor(self, amount_minor: int) -> int:
        """What the payer's wallet holds of this payment, in minor units: never negative, never more than was paid."""
        if self.stage is not Stage.COMPLETED:
            return 0
        taken = self.refunded_minor + self.withheld_minor + self.lost_minor
        return max(0, amount_minor - taken)

    def _disputes(self) -> list[Dispute]:
        if not self.disputes:
            return []
        identified = [dispute for dispute in self.disputes.values() if dispute.id != UNIDENTIFIED]
        return identified or list(self.disputes.values())
