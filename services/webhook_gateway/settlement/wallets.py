"""Activates and suspends subscriptions after a wallet's balance changed."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from datetime import datetime

from services.webhook_gateway.payments.ledger import subscription_paid, subscription_returned
from services.webhook_gateway.payments.subscriptions import covered, no_longer_covered
from services.webhook_gateway.settlement.unit_of_work import SettlementStore
from shared.runtime.failpoints import failpoint


def pay_subscriptions(
    user_id: int, balance_minor: int, currency: str, books: SettlementStore, at: datetime, event_id: int | None
) -> int:
    """Activate what the balance covers, and say how many that were. `event_id` is what caused it, where one did."""
    count = 0
    for subscription in covered(balance_minor, books.pending_subscriptions(user_id)):
        books.post(subscription_paid(subscription, user_id, currency), event_id)
        books.activate(subscription.id, at)
        failpoint("settlement.after_activation")
        count += 1
    return count


def return_subscriptions(
    user_id: int, balance_minor: int, currency: str, books: SettlementStore, event_id: int | None
) -> None:
    """Let wait again what a wallet below zero cannot have paid."""
    for subscription in no_longer_covered(balance_minor, books.paid_subscriptions(user_id)):
        books.post(subscription_returned(subscription, user_id, currency), event_id)
        books.deactivate(subscription.id)


def pay_waiting(
    users: Iterable[int],
    open_books: Callable[[], AbstractContextManager[SettlementStore]],
    currency: str,
    now: Callable[[], datetime],
) -> int:
    """Activate subscriptions that began to wait when the wallet covered them already: no event will come for them.

    `users` are those who may have one; each is looked at again in a transaction of its own, under the wallet's lock.
    """
    count = 0
    for user_id in users:
        with open_books() as books:
            balance_minor = books.balance(user_id)
            if balance_minor >= 0:
                count += pay_subscriptions(user_id, balance_minor, currency, books, now(), None)
    return count
