"""What must be true in the end, computed from what was sent and from nothing that the services say or share."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from zoneinfo import ZoneInfo

from tests.chaos.events import Life, Plan

#: Of what was reported about a payment that was never collected, the furthest counts.
_FURTHEST = {
    "failed": "failed", "session_failed": "failed", "canceled": "canceled", "expired": "expired",
    "authorized": "authorized", "pending": "pending",
}  # fmt: skip
#: The words after which the provider has the money.
_COLLECTED = {"paid", "charged", "captured", "invoice_payment", "session_paid"}
#: The words after which a refund of everything is back.
_BACK = {"refund_failed", "refund_reverted"}

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Expected:
    """The rows that there must be; amounts are minor units."""

    #: (provider, SHA-256 of the bytes that were signed)
    events: set[Key]
    #: (provider, reference) to (status, amount, credited)
    payments: dict[Key, tuple[str, int, int]]
    #: what each user has left
    balances: dict[int, int]
    #: the places, in the plan, of the subscriptions that are active
    active: set[int]
    #: what the school earned by them
    earned_minor: int
    #: a day before today to (payments completed, what they amount to)
    days: dict[date, tuple[int, int]] = field(default_factory=dict)


def expect(plan: Plan, zone: ZoneInfo) -> Expected:
    """All of it, for a plan of which every event arrived."""
    payments: dict[Key, tuple[str, int, int]] = {}
    wallets: dict[int, int] = defaultdict(int)
    days: dict[date, list[int]] = defaultdict(list)
    for place, life in enumerate(plan.lives):
        status, credited = _outcome(life)
        payments[life.provider, life.payment.reference] = (status, _collected(life), credited)
        wallets[payer(plan, place)] += credited
        if _is_collected(life) and reports_its_time(life) and life.at < plan.today:
            days[life.at.astimezone(zone).date()].append(_collected(life))
    active = _active(plan, wallets)
    spent: dict[int, int] = defaultdict(int)
    for number in active:
        user_id, price = plan.subscriptions[number]
        spent[user_id] += price
    return Expected(
        events={("satim" if n.route == "cib" else n.route, hashlib.sha256(n.body).hexdigest()) for n in plan.genuine},
        payments=payments,
        balances={user_id: wallets[user_id] - spent[user_id] for user_id in range(1, plan.users + 1)},
        active=active,
        earned_minor=sum(spent.values()),
        # what came today may be of any time of it, and a provider that reports no time is booked when it is heard
        days={day: (len(amounts), sum(amounts)) for day, amounts in days.items()},
    )


def payer(plan: Plan, place: int) -> int:
    """Whose payment it is; of the bank's, the checkout chose."""
    return plan.lives[place].payment.user_id or place % plan.users + 1


def reports_its_time(life: Life) -> bool:
    """Whether this provider says when something was paid."""
    return life.route in ("chargily", "standard_webhooks", "stripe")


def _is_collected(life: Life) -> bool:
    return not _COLLECTED.isdisjoint(life.reported)


def _collected(life: Life) -> int:
    """What was collected; of a payment that was not, what was tried."""
    return life.payment.captured_minor if "captured" in life.reported else life.payment.amount_minor


def _outcome(life: Life) -> tuple[str, int]:
    amount, reported = _collected(life), life.reported
    disputed = life.payment.disputed_minor or amount
    if not _is_collected(life):
        return next(status for word, status in _FURTHEST.items() if word in reported), 0
    if "lost" in reported:
        return "charged_back", amount - disputed
    if ("disputed" in reported and "won" not in reported) or "disputed_again" in reported:
        return "disputed", amount - disputed
    if not {"refunded", "refund_created"}.isdisjoint(reported) and _BACK.isdisjoint(reported):
        return "refunded", 0
    if "part" in reported and "part_failed" not in reported:
        return "partially_refunded", amount - life.payment.amount_minor // 4
    return "completed", amount


def _active(plan: Plan, wallets: dict[int, int]) -> set[int]:
    """The oldest subscriptions of each user, as many as all that the user ever paid in covers at their one price."""
    mine: dict[int, list[int]] = defaultdict(list)
    for number, (user_id, _) in enumerate(plan.subscriptions):
        mine[user_id].append(number)
    return {number for user_id, numbers in mine.items() for number in _covered(plan, numbers, wallets[user_id])}


def _covered(plan: Plan, numbers: Sequence[int], money: int) -> list[int]:
    covered = []
    for number in numbers:
        money -= plan.subscriptions[number][1]
        if money < 0:
            break
        covered.append(number)
    return covered
