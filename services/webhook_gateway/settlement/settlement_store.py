"""Interface of the store that a settlement reads and writes through, one transaction each; `postgres` implements it."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import NamedTuple, Protocol, TypeVar

from services.webhook_gateway.errors import ConcurrentInsertError
from services.webhook_gateway.payments.ledger import Transaction
from services.webhook_gateway.payments.model import Credit, Link, Payment, Subscription
from shared.contracts.webhooks import EventState

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SettlementResult:
    """What became of an event, and why, in words without personal data."""

    state: EventState
    reason: str
    payment_id: int | None = None
    #: Of one that waits: nothing is wrong, there was only too much to do at once.
    soon: bool = False


class SettlementKeys(NamedTuple):
    """The payment that an event describes, and the user it names."""

    provider: str
    reference: str
    order_number: str | None
    user_id: int | None


class SettlementStore(Protocol):
    """One transaction over the gateway's tables: all that is written is kept together, or nothing is.

    It may end with ConcurrentInsertError, where another one opened one of the same payments at the same time.
    """

    def claim(self, event_ids: Collection[int], abouts: Iterable[SettlementKeys] = ()) -> Collection[int]:
        """Lock the events until the end, with what they are about; those of them that are not final."""
        ...

    def find(self, provider: str, reference: str, order_number: str | None) -> Payment | None:
        """The payment of that reference; else of that order, one without a reference first; locked."""
        ...

    def registered(self, provider: str, user_id: int, prefix: str) -> Iterable[Payment]:
        """The user's pending payments that have no reference, or one that begins with `prefix`."""
        ...

    def open(self, payment: Payment) -> Payment | None:
        """The new row for `payment`, with its id, or the row of that reference that somebody else opened; locked.

        None where there is neither such a row nor such a user.
        """
        ...

    def save(self, payment: Payment) -> None:
        """Write what a settlement may change of a payment."""
        ...

    def balance(self, user_id: int) -> int:
        """The balance of a payment's user, locked until the end."""
        ...

    def post(self, transaction: Transaction, event_id: int | None) -> None:
        """Book the entries, and move the balance of each wallet among them; `event_id` is the cause, if it is one."""
        ...

    def pending_subscriptions(self, user_id: int) -> Iterable[Subscription]:
        """Those that wait for payment, oldest first; nobody pays for a term that has ended."""
        ...

    def paid_subscriptions(self, user_id: int) -> Iterable[Subscription]:
        """The active ones that the wallet has paid, with what it paid for each, newest first."""
        ...

    def credits(self, user_id: int) -> Iterable[Credit]:
        """What each completed payment of the user adds to the wallet."""
        ...

    def links(self, provider: str, object_ids: Iterable[str]) -> Iterable[Link]:
        """What is known of these objects of the provider."""
        ...

    def add_links(self, provider: str, links: Iterable[Link]) -> None:
        """Keep what is not known yet; not that of a user who is not there."""
        ...

    def paid_before(self, payment: Payment) -> int | None:
        """The id of another completed payment of the same user and order, at whichever provider; of several the first.

        Best effort: one that is settled at this moment may not be seen (`orders_paid_twice` finds it)."""
        ...

    def activate(self, subscription_id: int, at: datetime) -> None:
        """The subscription runs from `at`."""
        ...

    def deactivate(self, subscription_id: int) -> None:
        """The subscription waits for payment again, as if it had never run."""
        ...

    def close(self, event_id: int, verdict: SettlementResult) -> None:
        """The event is final."""
        ...

    def park(self, event_id: int, reason: str, until: datetime, tried_at: datetime | None = None) -> None:
        """The event is tried again at `until`. Without `tried_at` it has only waited for a turn."""
        ...

    def release(self, provider: str, reference: str, at: datetime) -> None:
        """Parked events about this payment are tried again at `at`."""
        ...

    def announce(self, payment_id: int, day: date) -> None:
        """Enqueue the message that the payment's `day` changed."""
        ...


def retry_on_conflict(work: Callable[[], T]) -> T:
    """Do a transaction's `work`, once more where another was first to open its payment: that one is found then."""
    try:
        return work()
    except ConcurrentInsertError:
        return work()
