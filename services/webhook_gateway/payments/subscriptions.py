"""Which subscriptions a wallet pays for: the oldest first, for as long as the balance covers them.

The rule is a function of the balance alone, so it does not matter in which order the money came and went:
when money goes back and the wallet falls below zero, the newest subscription that it had paid is the first that
waits again.
"""

from collections.abc import Iterable, Iterator

from services.webhook_gateway.payments.model import Subscription


def covered(balance_minor: int, pending: Iterable[Subscription]) -> Iterator[Subscription]:
    """Those of `pending`, oldest first, that `balance_minor` pays; the first that it does not pay ends it."""
    for subscription in pending:
        if subscription.amount_minor > balance_minor:
            return
        balance_minor -= subscription.amount_minor
        yield subscription


def no_longer_covered(balance_minor: int, paid: Iterable[Subscription]) -> Iterator[Subscription]:
    """Those of `paid`, newest first, that have to be given back for the balance to reach zero."""
    for subscription in paid:
        if balance_minor >= 0:
            return
        balance_minor += subscription.amount_minor
        yield subscription
