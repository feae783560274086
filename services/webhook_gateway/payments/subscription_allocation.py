"""Decides which subscriptions a wallet pays for: what a payment was made for first, then the oldest that fits.

What would have happened, had everything been known at its own time: payments (by the provider's time) and subscriptions
(by when they were made) are gone through in turn. What one of them paid for stays paid when more money comes, and a
dearer subscription that waits blocks nothing.
The result follows from the facts alone, so it does not matter in which order news of the money came.
"""

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime

from services.webhook_gateway.payments.model import Credit, Subscription


def allot(money_minor: int, credits: Iterable[Credit], candidates: Collection[Subscription]) -> set[int]:
    """The ids of the `candidates` that run. `money_minor` is the balance with all that was paid for them.

    What of it no payment explains (corrections, subscriptions that are over) counts from the beginning.
    """
    paid = set(_kept(money_minor, candidates))
    turn = sorted(credits, key=lambda credit: (credit.completed_at, credit.key))
    left = money_minor - sum(credit.amount_minor for credit in turn)
    left -= sum(one.amount_minor for one in candidates if one.id in paid)
    candidates = [one for one in candidates if one.id not in paid]
    known_at = _times(turn, candidates)
    steps: list[tuple[datetime, int, int, Credit | Subscription]] = [
        (known_at[one.id], 0, place, one) for place, one in enumerate(sorted(candidates, key=_age))
    ]
    steps += [(credit.completed_at, 1, place, credit) for place, credit in enumerate(turn)]
    waiting: list[Subscription] = []
    for _, _, _, step in sorted(steps, key=lambda one: one[:3]):
        if isinstance(step, Credit):
            left += step.amount_minor
            first = step.subscription_id
        else:
            waiting.append(step)
            first = None
        for one in sorted(waiting, key=lambda one: (one.id != first, *_age(one))):
            if 0 <= one.amount_minor <= left:
                left -= one.amount_minor
                paid.add(one.id)
        waiting = [one for one in waiting if one.id not in paid]
    return paid


def _kept(money_minor: int, candidates: Collection[Subscription]) -> Iterator[int]:
    """Those that an earlier release had paid, for as long as the money covers them."""
    for one in sorted(candidates, key=_age):
        if one.is_kept and 0 <= one.amount_minor <= money_minor:
            money_minor -= one.amount_minor
            yield one.id


def _age(subscription: Subscription) -> tuple[datetime, int]:
    return subscription.created_at, subscription.id


def _times(credits: Iterable[Credit], candidates: Collection[Subscription]) -> dict[int, datetime]:
    """Since when each is known: a payment that names one was made after it, whatever the two clocks say."""
    known_at = {one.id: one.created_at for one in candidates}
    for credit in credits:
        if credit.subscription_id in known_at:
            known_at[credit.subscription_id] = min(known_at[credit.subscription_id], credit.completed_at)
    return known_at
