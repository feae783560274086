"""Double entry: every movement of money is entries that sum to zero.

A positive amount is what the school owes the account's owner, a negative one what it is owed:
a payment of 25.00 with a fee of 0.63 is +25.00 on the payer's wallet, -24.37 on the provider's clearing account
(which pays that out to the school's bank) and -0.63 on the fees.
"""

from dataclasses import dataclass
from enum import StrEnum

from services.webhook_gateway.payments.model import Subscription


class AccountKind(StrEnum):
    """What an account is for; wallets belong to a user, all but the revenue to a provider."""

    WALLET = "user_wallet"
    CLEARING = "psp_clearing"
    FEES = "psp_fees"
    REVENUE = "subscription_revenue"
    #: What operators' corrections gave to wallets, and took from them.
    ADJUSTMENTS = "adjustments"
    #: What is owed to payers again if their open disputes are won.
    WITHHELD = "dispute_withheld"
    #: What the provider owes the school again if open disputes are won: negative, as all that the school is owed.
    CONTESTED = "dispute_contested"
    #: What disputes took beyond what the payers' wallets held of the payment, because it was refunded before.
    DISPUTE_LOSSES = "dispute_losses"
    DISPUTE_FEES = "dispute_fees"
    #: What each provider transferred to the school's bank: negative, for the school holds it.
    BANK = "bank"


class TransactionKind(StrEnum):
    """Why money moved."""

    PAYMENT = "payment"
    REFUND = "refund"
    REFUND_REVERSED = "refund_reversed"
    DISPUTE_WITHHELD = "dispute_withheld"
    DISPUTE_RELEASED = "dispute_released"
    DISPUTE_LOST = "dispute_lost"
    DISPUTE_FEE = "dispute_fee"
    ACTIVATION = "activation"
    DEACTIVATION = "deactivation"
    ADJUSTMENT = "adjustment"
    PAYOUT = "payout"


@dataclass(frozen=True, slots=True)
class Account:
    """An account by its meaning; the books give it a number when it is first used."""

    kind: AccountKind
    user_id: int | None = None
    provider: str | None = None


@dataclass(frozen=True, slots=True)
class Transaction:
    """Entries that stand or fall together. Raises ValueError where they do not sum to zero."""

    kind: TransactionKind
    entries: tuple[tuple[Account, int], ...]
    currency: str
    payment_id: int | None = None
    subscription_id: int | None = None

    def __post_init__(self) -> None:
        if total := sum(amount for _, amount in self.entries):
            raise ValueError(f"The entries of a {self.kind} sum to {total}, not to 0.")


def payment_moved(
    *, payment_id: int, user_id: int, provider: str, credit_minor: int, fee_minor: int, currency: str
) -> Transaction:
    """A payment changed the wallet by `credit_minor` (negative when money goes back) and cost `fee_minor` more."""
    clearing = Account(AccountKind.CLEARING, provider=provider)
    entries = (
        (Account(AccountKind.WALLET, user_id=user_id), credit_minor),
        (clearing, fee_minor - credit_minor),
        (Account(AccountKind.FEES, provider=provider), -fee_minor),
    )
    moved = tuple(entry for entry in entries if entry[1])
    return Transaction(TransactionKind.PAYMENT, moved, currency, payment_id=payment_id)


def adjusted(user_id: int, amount_minor: int, currency: str) -> Transaction:
    """An operator's correction: the wallet gets `amount_minor`, or gives it where that is negative."""
    entries = (
        (Account(AccountKind.WALLET, user_id=user_id), amount_minor),
        (Account(AccountKind.ADJUSTMENTS), -amount_minor),
    )
    return Transaction(TransactionKind.ADJUSTMENT, entries, currency)


def paid_out(provider: str, amount_minor: int, currency: str) -> Transaction:
    """A provider transferred `amount_minor` to the school's bank, or got it back where that is negative."""
    entries = (
        (Account(AccountKind.CLEARING, provider=provider), amount_minor),
        (Account(AccountKind.BANK, provider=provider), -amount_minor),
    )
    return Transaction(TransactionKind.PAYOUT, entries, currency)


def subscription_paid(subscription: Subscription, user_id: int, currency: str) -> Transaction:
    """The wallet pays for a subscription."""
    return _subscription(TransactionKind.ACTIVATION, subscription, user_id, subscription.amount_minor, currency)


def subscription_returned(subscription: Subscription, user_id: int, currency: str) -> Transaction:
    """The wallet gets back what it paid for a subscription."""
    return _subscription(TransactionKind.DEACTIVATION, subscription, user_id, -subscription.amount_minor, currency)


def _subscription(
    kind: TransactionKind, subscription: Subscription, user_id: int, revenue_minor: int, currency: str
) -> Transaction:
    entries = (
        (Account(AccountKind.WALLET, user_id=user_id), -revenue_minor),
        (Account(AccountKind.REVENUE), revenue_minor),
    )
    moved = tuple(entry for entry in entries if entry[1])
    return Transaction(kind, moved, currency, subscription_id=subscription.id)
