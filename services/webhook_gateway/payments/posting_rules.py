"""Posting rules: the state of a payment as ledger amounts, and a change of state as transactions.

The amounts on the accounts are a function of the payment's state. What is booked is always the difference to what
was booked before, one transaction for each reason, so that an accountant reads why the money moved.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from services.webhook_gateway.payments.ledger import Account, AccountKind, Transaction, TransactionKind
from services.webhook_gateway.payments.model import Payment
from services.webhook_gateway.payments.objects import FeeKind
from services.webhook_gateway.payments.payment_state import Stage


@dataclass(frozen=True, slots=True)
class Money:
    """What was collected of a payment, and what became of it; nothing at all before it is collected."""

    collected_minor: int = 0
    fee_minor: int = 0
    refunded_minor: int = 0
    withheld_minor: int = 0
    lost_minor: int = 0
    dispute_fee_minor: int = 0

    @classmethod
    def of(cls, payment: Payment) -> "Money":
        """The money of `payment` as its state has it."""
        state = payment.state
        if state.stage is not Stage.COMPLETED:
            return cls()
        return cls(
            collected_minor=payment.amount_minor,
            fee_minor=payment.fee_minor,
            refunded_minor=state.refunded_minor,
            withheld_minor=state.withheld_minor,
            lost_minor=state.lost_minor,
            dispute_fee_minor=state.fee_minor(FeeKind.DISPUTE),
        )

    def positions(self) -> dict[AccountKind, int]:
        """What each account holds of it; the sum is zero.

        Disputes that were lost take from the wallet before those that are open; what the wallet does not hold any more
        is the school's own loss.
        """
        kept = max(0, self.collected_minor - self.refunded_minor)
        lost = min(self.lost_minor, kept)
        withheld = min(self.withheld_minor, kept - lost)
        return {
            AccountKind.WALLET: kept - lost - withheld,
            AccountKind.CLEARING: -kept
            + self.withheld_minor
            + self.lost_minor
            + self.fee_minor
            + self.dispute_fee_minor,
            AccountKind.FEES: -self.fee_minor,
            AccountKind.WITHHELD: withheld,
            AccountKind.CONTESTED: -self.withheld_minor,
            AccountKind.DISPUTE_LOSSES: lost - self.lost_minor,
            AccountKind.DISPUTE_FEES: -self.dispute_fee_minor,
        }


def transactions(before: Payment, after: Payment) -> Iterator[Transaction]:
    """What has to be booked for `before` to become `after`: one transaction of a kind at most."""
    start, end = Money.of(before), Money.of(after)
    for kind, one, other in _steps(start, end):
        moved = other.positions()
        for account, amount_minor in one.positions().items():
            moved[account] -= amount_minor
        if kind is TransactionKind.PAYMENT:
            # the row holds what an earlier release booked; the state may give another amount
            booked_otherwise = start.positions()[AccountKind.WALLET] - before.credited_minor
            moved[AccountKind.WALLET] += booked_otherwise
            moved[AccountKind.CLEARING] -= booked_otherwise
        entries = tuple((_account(account, after), amount) for account, amount in moved.items() if amount)
        if entries:
            yield Transaction(kind, entries, after.currency, payment_id=after.id)


def _steps(start: Money, end: Money) -> Iterator[tuple[TransactionKind, Money, Money]]:
    """Each reason with the money before and after it: collected, refunded, disputed, and what the disputes cost."""
    here = replace(start, collected_minor=end.collected_minor, fee_minor=end.fee_minor)
    yield TransactionKind.PAYMENT, start, here
    if here == end:
        return
    there = replace(here, refunded_minor=end.refunded_minor)
    is_reversal = end.refunded_minor < start.refunded_minor
    yield TransactionKind.REFUND_REVERSED if is_reversal else TransactionKind.REFUND, here, there
    # a lost dispute was withheld first, even if no event reported it
    newly_lost = max(0, end.lost_minor - start.lost_minor)
    here, there = there, replace(there, withheld_minor=max(start.withheld_minor, end.withheld_minor + newly_lost))
    yield TransactionKind.DISPUTE_WITHHELD, here, there
    here = there
    there = replace(here, withheld_minor=here.withheld_minor - newly_lost, lost_minor=here.lost_minor + newly_lost)
    yield TransactionKind.DISPUTE_LOST, here, there
    here, there = there, replace(there, withheld_minor=end.withheld_minor, lost_minor=end.lost_minor)
    yield TransactionKind.DISPUTE_RELEASED, here, there
    yield TransactionKind.DISPUTE_FEE, there, end


def _account(kind: AccountKind, payment: Payment) -> Account:
    if kind is AccountKind.WALLET:
        return Account(kind, user_id=payment.user_id)
    return Account(kind, provider=payment.provider)
