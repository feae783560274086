"""Monthly recurring revenue: what the subscriptions that run bring a month, and the five ways in which it moves.

A subscription's amount is spread over its months, in whole minor units that add up to it exactly: every month gets
the amount divided by the months, and the first ones get one unit more until the remainder is used up.
"""

from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from services.stats.copy_binary import Integers
from services.stats.days import ONE_DAY, Days
from services.stats.sections.base import FOREVER, MetricDefinition, Query, Unit, Value, Values, rounded
from services.stats.sections.subscription_terms import NEVER, SubscriptionTerms, buckets

#: What churn is measured over.
_WINDOW_DAYS = 30

NUMBERS = (
    MetricDefinition(
        "mrr",
        Unit.MINOR,
        "Monthly recurring revenue at the day's end. A term has as many months as pieces of 31 days fit into it, "
        "rounded up where more than an hour is left over (an hour is where summer time ends, as from 1 October to "
        "1 November), and is cut into as many equal parts; its amount is spread over them in whole units, the first "
        "parts get the remainder. MRR is the sum of the parts in which the day's last moment lies. A subscription "
        "without an end counts with its amount.",
        reach_days=FOREVER,
    ),
    MetricDefinition(
        "mrr_new", Unit.MINOR, "MRR won in the day from users whose first paid term began in it.", reach_days=30
    ),
    MetricDefinition(
        "mrr_expansion", Unit.MINOR, "MRR won in the day from users who had some at its start.", reach_days=30
    ),
    MetricDefinition(
        "mrr_reactivation",
        Unit.MINOR,
        "MRR won in the day from users who had none at its start, but a paid term that began earlier.",
        reach_days=30,
    ),
    MetricDefinition("mrr_contraction", Unit.MINOR, "MRR lost in the day from users who kept some.", reach_days=30),
    MetricDefinition(
        "mrr_churn", Unit.MINOR, "MRR lost in the day from users who have none at its end.", reach_days=30
    ),
    MetricDefinition("subscribers", Unit.COUNT, "Users who bring MRR at the day's end.", reach_days=FOREVER),
    MetricDefinition("subscribers_lost", Unit.COUNT, "Users who brought MRR at the day's start and none at its end."),
    MetricDefinition(
        "churn_rate_30",
        Unit.BASIS_POINTS,
        "mrr_churn of the last 30 days by the MRR before them, rounded; left out where that was 0.",
        reach_days=30,
    ),
)


_EARLIER = """
SELECT DISTINCT user_id FROM subscriptions
WHERE (%(everybody)s OR user_id = ANY (%(users)s::bigint[])) AND status <> 'pending_payment' AND amount_minor > 0
  AND activated_at < %(begins_at)s AND ends_at < %(begins_at)s AND ends_at > activated_at
"""

#: Larger than any user's id.
_NOBODY = 2**63 - 1
#: A list of more users is slower to look through than all terms.
MOST_LISTED = 10_000
_HOUR = 3_600_000_000
_MONTH = 31 * 24 * _HOUR


def days_to_count(ask: Query, days: Days) -> Days:
    """`days`, and the month before them where it has to be counted again."""
    kept = [ask.kept(day, f"subscriptions.{name}") for day in _month_before(days) for name in ("mrr", "mrr_churn")]
    return days.reaching_back(_WINDOW_DAYS - 1) if None in kept else days


class Moves:
    """How users' MRR moved, by bucket; 0 is all that lies before the days, of which `step` and `subscribers` tell."""

    def __init__(self, days: Days) -> None:
        self._days = days
        self.step, self.subscribers, self.subscribers_lost = (np.zeros(len(days) + 1, np.int64) for _ in range(3))
        self.gained, self.expanded, self.contracted, self.lost = (np.zeros(len(days) + 1, np.int64) for _ in range(4))
        #: The part of `gained` that is of users who had paid before.
        self.regained = np.zeros(len(days) + 1, np.int64)
        #: Who gained, when, and how much, where no term that was read says whether they had paid before.
        self._unsure: list[tuple[Integers, Integers, Integers]] = []

    def add(self, terms: SubscriptionTerms) -> None:
        """Add what moves the MRR of the users of `terms`."""
        at_start, found = _find_changes(terms.where(terms.amounts > 0), self._days)
        self.step[0] += at_start.sum()
        self.subscribers[0] += np.count_nonzero(at_start)
        before, after = found.before, found.after
        won, kept, lost = (before == 0) & (after > 0), (before > 0) & (after > 0), (before > 0) & (after == 0)
        unsure = won & ~found.had_paid
        self._unsure.append((found.users[unsure], found.day_of[unsure], after[unsure]))
        step, one = after - before, np.ones_like(after)
        np.add.at(self.step, found.day_of, step)
        for sums, which, moved in (
            (self.gained, won, after),
            (self.regained, won & found.had_paid, after),
            (self.expanded, kept & (step > 0), step),
            (self.contracted, kept & (step < 0), -step),
            (self.lost, lost, before),
            (self.subscribers, won, one),
            (self.subscribers, lost, -one),
            (self.subscribers_lost, lost, one),
        ):
            np.add.at(sums, found.day_of[which], moved[which])

    def ask_who_had_paid(self, ask: Query) -> None:
        """Complete `regained`: of some users no term reaches into the days from before, but may have ended earlier."""
        if not self._unsure:
            return
        users, day_of, amounts = (np.concatenate(parts) for parts in zip(*self._unsure, strict=True))
        everybody = users.size > MOST_LISTED
        limits = {"users": [] if everybody else users.tolist(), "everybody": everybody}
        (earlier,) = ask.columns(_EARLIER, ("user_id",), begins_at=self._days.begins_at, **limits)
        earlier = np.append(np.sort(earlier), _NOBODY)
        had_paid = earlier[np.searchsorted(earlier[:-1], users)] == users
        np.add.at(self.regained, day_of[had_paid], amounts[had_paid])


@dataclass(frozen=True, slots=True)
class _Changes:
    """What a day's steps together make of a user's MRR, user by user and day by day."""

    users: Integers
    day_of: Integers
    before: Integers
    after: Integers
    #: Whether the terms that were read say that the user had paid before that day.
    had_paid: NDArray[np.bool_]


def _find_changes(terms: SubscriptionTerms, days: Days) -> tuple[Integers, _Changes]:
    """The MRR of each user before `days`, and how it changed in them."""
    # sorting and searching are many times as fast as the other ways of numpy to find equal numbers
    users = np.unique(terms.users)
    places, at, amounts = _steps(np.searchsorted(users, terms.users), terms)
    day_of = buckets(at, days)
    early = day_of == 0
    before = np.zeros(users.size, np.int64)
    np.add.at(before, places[early], amounts[early])
    had_paid = np.zeros(users.size, np.bool_)
    had_paid[places[early]] = True

    number = len(days) + 1
    inside = np.flatnonzero(~early & (day_of < number))
    keys = places[inside] * number + day_of[inside]
    order = np.argsort(keys)
    inside, keys = inside[order], keys[order]
    firsts = np.flatnonzero(np.diff(keys, prepend=-1))
    step = np.add.reduceat(amounts[inside], firsts) if firsts.size else firsts
    places, day_of = np.divmod(keys[firsts], number)

    total = np.cumsum(step)
    is_first = np.diff(places, prepend=-1) != 0
    # at a user's first step: what they had before the days, less what all users before them moved by
    base = before[places[is_first]] - (total - step)[is_first]
    after = total + base[np.cumsum(is_first) - 1]
    return before, _Changes(users[places], day_of, after - step, after, had_paid[places] | ~is_first)


def _steps(places: Integers, terms: SubscriptionTerms) -> tuple[Integers, Integers, Integers]:
    """Whose MRR moves, when, and by how much.

    Every term moves it two or three times: up when it begins, down by one unit when the parts that have one more are
    over, down when it ends.
    """
    length = terms.ends_at - terms.begins_at
    months = np.where(terms.ends_at == NEVER, 1, np.maximum(1, -((_HOUR - length) // _MONTH)))
    least, larger = np.divmod(terms.amounts, months)
    # part p begins at p * length / months, rounded up to a microsecond; this needs no large products
    lessens_at = terms.begins_at + larger * (length // months) - (-larger * (length % months)) // months
    some = larger > 0
    return (
        np.concatenate((places, places, places[some])),
        np.concatenate((terms.begins_at, terms.ends_at, lessens_at[some])),
        np.concatenate((least + some, -least, np.full(np.count_nonzero(some), -1))),
    )


def numbers(ask: Query, days: Days, counted: Days, moved: Moves) -> Values:
    """The numbers above, for every one of `days`, from what moved in those that were `counted`."""
    levels, subscribers = np.cumsum(moved.step), np.cumsum(moved.subscribers)
    back = _month_before(days)
    mrr: dict[date, int | None] = {day: ask.kept(day, "subscriptions.mrr") for day in back}
    churn: dict[date, int | None] = {day: ask.kept(day, "subscriptions.mrr_churn") for day in back}
    mrr[counted.first - ONE_DAY] = int(levels[0])
    values: Values = {}
    for bucket, day in enumerate(counted, start=1):
        mrr[day], churn[day] = int(levels[bucket]), int(moved.lost[bucket])
        if day < days.first:
            continue
        found: dict[str, Value] = {
            "mrr": int(levels[bucket]),
            "mrr_new": int(moved.gained[bucket] - moved.regained[bucket]),
            "mrr_expansion": int(moved.expanded[bucket]),
            "mrr_reactivation": int(moved.regained[bucket]),
            "mrr_contraction": int(moved.contracted[bucket]),
            "mrr_churn": int(moved.lost[bucket]),
            "subscribers": int(subscribers[bucket]),
            "subscribers_lost": int(moved.subscribers_lost[bucket]),
        }
        if before := mrr[day - ONE_DAY * _WINDOW_DAYS]:
            lost = sum(churn[day - ONE_DAY * number] or 0 for number in range(_WINDOW_DAYS))
            found["churn_rate_30"] = rounded(10_000 * lost, before)
        values[day] = found
    return values


def _month_before(days: Days) -> list[date]:
    return [days.first - ONE_DAY * number for number in range(_WINDOW_DAYS, 0, -1)]
