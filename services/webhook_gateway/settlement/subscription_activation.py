"""Activates and suspends subscriptions after a wallet's balance changed."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from datetime import datetime

from services.webhook_gateway.payments.ledger import subscription_paid, subscription_returned
from services.webhook_gateway.payments.subscription_allocation import allot
from services.webhook_gateway.settlement.settlement_store import SettlementStore
from shared.runtime.failpoints import failpoint


def pay_subscriptions(user_id: int, currency: str, books: SettlementStore, at: datetime, event_id: int | None) -> int:
    """Let the subscriptions run that the wallet pays for, and no others; return how many began.

    `event_id` is what caused it, where one did.
    """
    paid = [one for one in books.paid_subscriptions(user_id) if not one.is_over(at)]
    pending = [one for one in books.pending_subscriptions(user_id) if not one.is_over(at)]
    if not paid and not pending:
        return 0
    money_minor = books.balance(user_id) + sum(one.amount_minor for one in paid)
    running = allot(money_minor, books.credits(user_id), [*paid, *pending])
    for one in sorted(paid, key=lambda one: (one.created_at, one.id), reverse=True):
        if one.id not in running:
            books.post(subscription_returned(one, user_id, currency), event_id)
            books.deactivate(one.id)
    begun = [one for one in pending if one.id in running]
    for one in begun:
        books.post(subscription_paid(one, user_id, currency), event_id)
        books.activate(one.id, at)
        failpoint("settlement.after_activation")
    return len(begun)


def pay_waiting(
    users: Iterable[int],
    open_books: Callable[[], AbstractContextManager[SettlementStore]],
    currency: str,
    now: Callable[[], datetime],
) -> int:
    """Activate subscriptions that began to wait when the wallet covered them already: no event will come for them.

    `users` are those who may have one; each is checked again in a transaction of its own, under the wallet's lock.
    """
    count = 0
    for user_id in users:
        with open_books() as books:
            count += pay_subscriptions(user_id, currency, books, now(), None)
    return count
