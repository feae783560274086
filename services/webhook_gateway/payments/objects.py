"""A provider's own objects of one payment: refunds, disputes and fees, each with an id, an amount and a state.

Each merges with news of itself, and the merge is commutative, associative and idempotent: every order and every
repetition of the same news ends in the same object.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Final, Protocol, Self, TypeVar

#: Stands for a time that nobody reported: older than any that is.
_NEVER: Final = datetime.min.replace(tzinfo=UTC)
#: How much younger the event of a refund that ended may be than that of the figure which fell because of it.
_ENDS_WITHIN: Final = timedelta(minutes=1)


class RefundState(IntEnum):
    """Where a refund is. A later line outranks an earlier one: a refund that failed never succeeds again."""

    PENDING = 0
    SUCCEEDED = 1
    CANCELED = 2
    FAILED = 3


class DisputeState(IntEnum):
    """Where a dispute is. An inquiry takes no money; an open or a lost dispute takes its amount."""

    INQUIRY = 0
    OPEN = 1
    WON = 2
    LOST = 3


class FeeKind(IntEnum):
    """What the provider charges for."""

    PAYMENT = 0
    DISPUTE = 1


@dataclass(frozen=True, slots=True)
class Total:
    """A cumulative figure, such as all that was refunded.

    The newest by the provider's own time wins, never the largest; a figure without a time is older than every figure
    with one. `fell_minor` is by how much the provider says that the figure fell just then, because refunds ended. Of
    two figures of one second the one that was larger before its fall wins, and of two such the one that fell.
    """

    amount_minor: int = 0
    reported_at: datetime | None = None
    fell_minor: int = 0

    def merge(self, news: "Total") -> "Total":
        return max(self, news, key=_newest)


@dataclass(frozen=True, slots=True)
class Refund:
    """One refund. It takes its amount from the payment until it fails or is canceled: then the money is back.

    `ended_at` is when the provider reported that it failed or was canceled.
    """

    id: str
    amount_minor: int
    state: RefundState
    began_at: datetime | None = None
    ended_at: datetime | None = None

    @property
    def is_ended(self) -> bool:
        """Whether the money is back."""
        return self.state >= RefundState.CANCELED

    def merge(self, news: Self) -> Self:
        return replace(
            self,
            amount_minor=max(self.amount_minor, news.amount_minor),
            state=max(self.state, news.state),
            began_at=_earlier(self.began_at, news.began_at),
            ended_at=_earlier(self.ended_at, news.ended_at),
        )


@dataclass(frozen=True, slots=True)
class Dispute:
    """One dispute of a part or all of a payment.

    `closed_at` is when the provider reported that it was won or lost, `reported_at` when it reported the amount.
    """

    id: str
    amount_minor: int
    state: DisputeState
    closed_at: datetime | None = None
    reported_at: datetime | None = None

    def merge(self, news: Self) -> Self:
        """A closed one outranks an open one. Of two outcomes the newer one wins: banks reverse them.

        Of two amounts the newer one wins too, and of two of one time the larger.
        """
        latest = max(self, news, key=_progress)
        amount = max(self, news, key=lambda one: (one.reported_at or _NEVER, one.amount_minor))
        return replace(latest, amount_minor=amount.amount_minor, reported_at=amount.reported_at)


@dataclass(frozen=True, slots=True)
class Fee:
    """What the provider charged in one movement of its balance; negative where it gave a fee back."""

    id: str
    amount_minor: int
    kind: FeeKind = FeeKind.PAYMENT

    def merge(self, news: Self) -> Self:
        return max(self, news, key=lambda fee: (fee.amount_minor, fee.kind))


class _Object(Protocol):
    @property
    def id(self) -> str: ...
    def merge(self, news: Self) -> Self: ...


T = TypeVar("T", bound=_Object)


def merge_objects(known: Mapping[str, T], news: Iterable[T]) -> Mapping[str, T]:
    """Every object by its id, after `news`."""
    merged = dict(known)
    for one in news:
        merged[one.id] = merged[one.id].merge(one) if one.id in merged else one
    return merged


def refunded_minor(total: Total, refunds: Iterable[Refund]) -> int:
    """All that is refunded now, from the newest cumulative figure and from the refunds that are known one by one.

    Where refunds are known they rule: the figure counts only for what they do not explain. A refund explains a part of
    the figure if it had begun and had not ended when that was reported; where the times do not say which of the two
    was first, it does so if the figure is large enough. A figure that fell was sent because refunds ended, and does not
    hold them, even if their own events are some seconds younger.
    """
    known = list(refunds)
    if not known:
        return max(0, total.amount_minor)
    reported_at, fell_minor = total.reported_at, total.fell_minor
    live_minor = sum(refund.amount_minor for refund in known if not refund.is_ended)
    unexplained = total.amount_minor
    for refund in known:
        if not refund.is_ended and _had_begun(refund, reported_at):
            unexplained -= refund.amount_minor
    for refund in sorted(known, key=lambda one: (one.ended_at or _NEVER, one.amount_minor != fell_minor, one.id)):
        if not refund.is_ended or not _had_begun(refund, reported_at):
            continue
        if refund.amount_minor <= fell_minor and _ends_with(refund, reported_at):
            fell_minor -= refund.amount_minor
            continue
        is_certain = reported_at is not None and refund.ended_at is not None and refund.ended_at > reported_at
        is_open_question = reported_at is None or refund.ended_at is None or refund.ended_at == reported_at
        if is_certain or (is_open_question and unexplained >= refund.amount_minor):
            unexplained -= refund.amount_minor
    return max(0, unexplained) + live_minor


def _ends_with(refund: Refund, reported_at: datetime | None) -> bool:
    """Whether the figure that was reported at that time can have fallen because this refund ended."""
    if reported_at is None or refund.ended_at is None:
        return False
    return timedelta() <= refund.ended_at - reported_at <= _ENDS_WITHIN


def _newest(total: Total) -> tuple[datetime, int, int]:
    return total.reported_at or _NEVER, total.amount_minor + total.fell_minor, total.fell_minor


def _had_begun(refund: Refund, reported_at: datetime | None) -> bool:
    return reported_at is None or refund.began_at is None or refund.began_at <= reported_at


def _progress(dispute: Dispute) -> tuple[int, datetime, int]:
    is_closed = dispute.state >= DisputeState.WON
    phase = DisputeState.WON if is_closed else dispute.state
    return phase, (dispute.closed_at or _NEVER) if is_closed else _NEVER, dispute.state


def _earlier(one: datetime | None, other: datetime | None) -> datetime | None:
    return min((at for at in (one, other) if at is not None), default=None)
