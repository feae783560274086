"""Monthly recurring revenue: its amount, its movements and its retention.

The terms of one user and chapter are one run, which goes on for a while after a term's end: who renews a few days late
was never lost.
"""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.stats.binary_column_reader import Integers
from services.stats.days import ONE_DAY, Days
from services.stats.sections.base import (
    FOREVER,
    DayState,
    MetricDefinition,
    Query,
    Unit,
    Value,
    Values,
    order_by,
    ranks,
    rounded,
)
from services.stats.sections.disjoint_terms import Pieces, cut
from services.stats.sections.subscription_terms import NEVER, SubscriptionTerms, buckets
from services.stats.sections.term_calendar import monthly

#: What churn, retention and renewals are measured over.
WINDOW_DAYS = 30

_LEFT_OUT = "left out where there was none"

NUMBERS = (
    MetricDefinition(
        "mrr",
        Unit.MINOR,
        "Monthly recurring revenue at the day's end: the sum of what each user and chapter brings a month. A term "
        "brings what was paid for it by the months it was sold for: whole calendar months in the school's zone, or "
        "else its length by 30 days (at least a day); a term without an end brings its amount. Of several terms of "
        "one user and chapter that run, the one that began last counts. A term counts until NOUBA_STATS_GRACE_DAYS "
        "after its end; one that was cancelled, cut short or returned only until then. Price and length are those of "
        "the sale, whatever is edited later.",
        reach_days=FOREVER,
        source="subscriptions, subscription_terms",
        reconciles="the day before, with new, expansion and reactivation, without contraction and churn",
        reference="https://help.chartmogul.com/hc/en-us/articles/203299812",
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
    MetricDefinition(
        "subscribers",
        Unit.COUNT,
        "Users who bring MRR at the day's end.",
        reach_days=FOREVER,
        source="subscriptions, subscription_terms",
        reconciles="the day before, with those gained, without those lost",
    ),
    MetricDefinition("subscribers_gained", Unit.COUNT, "Users who bring MRR at the day's end and brought none before."),
    MetricDefinition("subscribers_lost", Unit.COUNT, "Users who brought MRR at the day's start and none at its end."),
    MetricDefinition(
        "customer_churn_30",
        Unit.BASIS_POINTS,
        f"Of the users who brought MRR 30 days before, the share who bring none now; {_LEFT_OUT}.",
        reach_days=30,
        reference="https://help.chartmogul.com/hc/en-us/articles/207340419-Churn-rate-formulas",
    ),
    MetricDefinition(
        "gross_mrr_churn_30",
        Unit.BASIS_POINTS,
        "Of the MRR 30 days before, the share that its users do not bring any more (churn and contraction); "
        f"{_LEFT_OUT}.",
        reach_days=30,
        reconciles="100 % less GRR",
        reference="https://help.chartmogul.com/hc/en-us/articles/203359341-Metric-MRR-Churn-Rate",
    ),
    MetricDefinition(
        "net_mrr_churn_30",
        Unit.BASIS_POINTS,
        "The same, offset by what these users bring more (expansion): negative where they bring more than they did; "
        f"{_LEFT_OUT}.",
        reach_days=30,
        reconciles="100 % less NRR",
        reference="https://help.chartmogul.com/hc/en-us/articles/4414075567250-Metric-Net-MRR-Churn-Rate",
    ),
    MetricDefinition(
        "grr_30",
        Unit.BASIS_POINTS,
        "Gross revenue retention: what the users of 30 days before bring now, of each no more than then, by what they "
        f"brought then; {_LEFT_OUT}. Never above 100 %.",
        reach_days=30,
    ),
    MetricDefinition(
        "nrr_30",
        Unit.BASIS_POINTS,
        f"Net revenue retention: what the users of 30 days before bring now by what they brought then; {_LEFT_OUT}.",
        reach_days=30,
    ),
    MetricDefinition(
        "renewals_due",
        Unit.COUNT,
        "Paid runs whose grace after a term's end ran out in the day, or would have without a renewal.",
        reach_days=30,
    ),
    MetricDefinition(
        "renewals", Unit.COUNT, "Those of renewals_due that went on by another term, an early one too.", reach_days=30
    ),
    MetricDefinition(
        "renewal_rate_30",
        Unit.BASIS_POINTS,
        f"renewals of the last 30 days by renewals_due of the same days, rounded; {_LEFT_OUT}.",
        reach_days=30,
    ),
)


_EARLIER = """
SELECT DISTINCT one.user_id FROM subscriptions AS one
LEFT JOIN subscription_terms AS kept ON kept.subscription_id = one.id AND kept.activated_at = one.activated_at
WHERE (%(everybody)s OR one.user_id = ANY (%(users)s::bigint[])) AND one.status <> 'pending_payment'
  AND one.activated_at < %(begins_at)s AND coalesce(kept.amount_minor, one.amount_minor) > 0
  AND coalesce(least(one.ends_at, kept.stopped_at) > one.activated_at, one.status = 'active')
UNION
SELECT user_id FROM subscription_terms
WHERE (%(everybody)s OR user_id = ANY (%(users)s::bigint[])) AND is_returned
  AND activated_at < %(begins_at)s AND amount_minor > 0 AND coalesce(least(ends_at, stopped_at) > activated_at, true)
"""

#: A list of more users is slower to read than all terms.
MAX_LISTED = 10_000
_DAY = 86_400_000_000


#: Of a run of so many days at most it is kept who brings what; of a longer one it would be much at once.
MAX_KEPT = 31
#: A run of more days reads the terms of the month before rather than count on from what is kept.
MAX_COUNTED_ON = 7


@dataclass(frozen=True, slots=True)
class Subscribers:
    """Users who bring MRR at a day's end, in order, and how much."""

    users: Integers
    amounts: Integers

    def packed(self) -> bytes:
        columns = np.concatenate((np.diff(self.users, prepend=0), self.amounts))
        return zlib.compress(columns.astype("<i8").tobytes(), 1)

    @classmethod
    def unpacked(cls, packed: bytes) -> "Subscribers":
        """From what `join_packed` made."""
        found, at = [np.zeros((2, 0), np.int64)], 0
        while at < len(packed):
            (length,) = _LENGTH.unpack_from(packed, at)
            at += _LENGTH.size
            steps, amounts = np.frombuffer(zlib.decompress(packed[at : at + length]), "<i8").reshape(2, -1)
            found.append(np.stack((np.cumsum(steps), amounts)))
            at += length
        users, amounts = np.concatenate(found, axis=1)
        order = np.argsort(users)
        return cls(users[order], amounts[order])


_LENGTH = struct.Struct("<I")


def join_packed(parts: Sequence[bytes]) -> bytes:
    """Several packed Subscribers as one; the same bytes in whatever order they come."""
    return b"".join(_LENGTH.pack(len(part)) + part for part in sorted(parts))


@dataclass(frozen=True, slots=True)
class MonthBefore:
    """What the month before some days has left: they count on from it, and read none of its terms."""

    #: Who brought MRR a window before each of the days.
    subscribers: Sequence[Subscribers]
    #: renewals_due and renewals of each day of the month, in their order.
    due: Sequence[int]
    renewed: Sequence[int]


def read_month_before(ask: Query, days: Days, grace_days: int) -> MonthBefore | None:
    """What is kept of the month before `days`; None where a part of it is missing or was counted otherwise."""
    if len(days) > MAX_COUNTED_ON:
        return None
    month = [days.first - ONE_DAY * number for number in range(WINDOW_DAYS, 0, -1)]
    states = [ask.states.get(day, DayState()) for day in month]
    packed = [state.subscribers for state in states[: len(days)]]
    due, renewed = ([ask.kept(day, f"subscriptions.{name}") for day in month] for name in ("renewals_due", "renewals"))
    if any(state.grace_days != grace_days for state in states) or None in (*packed, *due, *renewed):
        return None
    return MonthBefore(
        [Subscribers.unpacked(one) for one in packed if one is not None],
        [number for number in due if number is not None],
        [number for number in renewed if number is not None],
    )


class Moves:
    """How users' MRR moved, by bucket of `days`; 0 is all that lies before them."""

    def __init__(self, days: Days, grace_days: int, before: MonthBefore | None = None, kept_days: int = 0) -> None:
        """Where `before` is given, no term is needed for what lies before `days`. Of so many of the last days,
        `kept_days`, it is kept who brings what."""
        self._days, self._grace_days, self.before = days, grace_days, before
        self._number = len(days) + 1
        self._packed: dict[int, list[bytes]] = {one: [] for one in range(self._number - kept_days, self._number)}
        self.step, self.gained, self.expanded, self.contracted, self.lost = (self._zeros() for _ in range(5))
        #: The part of `gained` that is of users who had paid before.
        self.regained = self._zeros()
        self.users_gained, self.users_lost = self._zeros(), self._zeros()
        #: Of those who brought MRR a window before: how much and how many, and what and who of it is left.
        self.base, self.kept, self.retained, self.base_users, self.kept_users = (self._zeros() for _ in range(5))
        self.due, self.renewed = self._zeros(), self._zeros()
        for bucket, base in enumerate(before.subscribers if before else (), start=1):
            self.base[bucket], self.base_users[bucket] = base.amounts.sum(), base.users.size
        #: Who gained, when, and how much, where no term that was read says whether they had paid before.
        self._unsure: list[tuple[Integers, Integers, Integers]] = []

    def _zeros(self) -> Integers:
        return np.zeros(self._number, np.int64)

    def add(self, terms: SubscriptionTerms) -> None:
        """Add what moves the MRR of the users of `terms`, which are in order."""
        runs = PaidRuns.of(terms, self._grace_days)
        steps = self.steps(runs)
        self._add_moves(steps)
        if self.before is None:
            self._add_retention(steps)
        for bucket, base in enumerate(self.before.subscribers if self.before else (), start=1):
            self._add_kept(bucket, base, steps.at_end_of(bucket))
        for bucket, packed in self._packed.items():
            packed.append(steps.at_end_of(bucket).packed())
        self._add_renewals(runs)

    def steps(self, runs: "PaidRuns") -> "Steps":
        """How the MRR of their users moves."""
        paid, pieces = runs.terms, runs.pieces
        whose, rate = paid.users[pieces.terms], monthly(paid, self._days.zone)[pieces.terms]
        return by_user_and_day(
            np.concatenate((whose, whose)),
            np.concatenate((pieces.begins_at, pieces.ends_at)),
            np.concatenate((rate, -rate)),
            self._days,
        )

    def _add_moves(self, found: "Steps") -> None:
        is_now = found.day_of > 0
        before, after, step = found.after - found.step, found.after, found.step
        won, kept, lost = (before == 0) & (after > 0), (before > 0) & (after > 0), (before > 0) & (after == 0)
        unsure = is_now & won & found.is_first
        self._unsure.append((found.users[unsure], found.day_of[unsure], after[unsure]))
        np.add.at(self.step, found.day_of, step)
        np.add.at(self.users_gained, found.day_of[~is_now & won], 1)
        for sums, which, moved in (
            (self.gained, won, after),
            (self.regained, won & ~found.is_first, after),
            (self.expanded, kept & (step > 0), step),
            (self.contracted, kept & (step < 0), -step),
            (self.lost, lost, before),
            (self.users_gained, won, np.ones_like(after)),
            (self.users_lost, lost, np.ones_like(after)),
        ):
            which = which & is_now
            np.add.at(sums, found.day_of[which], moved[which])

    def _add_retention(self, found: "Steps") -> None:
        """Each user's MRR beside that of a window before, wherever one of the two changes."""
        users = np.concatenate((found.users, found.users))
        day_of = np.concatenate((found.day_of, found.day_of + WINDOW_DAYS))
        nothing = np.zeros_like(found.step)
        inside = np.flatnonzero(day_of < self._number)
        order = inside[order_by(users[inside], day_of[inside], self._number)]
        users, day_of = users[order], day_of[order]
        now = _running(users, np.concatenate((found.step, nothing))[order])
        then = _running(users, np.concatenate((nothing, found.step))[order])
        # of several changes on one day the last one has them all
        is_last = np.append((np.diff(users) != 0) | (np.diff(day_of) != 0), True)[: users.size]
        users, day_of, now, then = (column[is_last] for column in (users, day_of, now, then))
        was = then > 0
        for sums, level in (
            (self.base, then),
            (self.kept, np.where(was, now, 0)),
            (self.retained, np.minimum(now, then)),
            (self.base_users, was.astype(np.int64)),
            (self.kept_users, (was & (now > 0)).astype(np.int64)),
        ):
            is_same = np.append(False, users[1:] == users[:-1])[: users.size]
            np.add.at(sums, day_of, level - np.where(is_same, np.append(0, level)[: users.size], 0))

    def _add_kept(self, bucket: int, base: Subscribers, now: Subscribers) -> None:
        """What some of the users of `base` bring now."""
        if not base.users.size:
            return
        places = np.minimum(np.searchsorted(base.users, now.users), base.users.size - 1)
        is_known = base.users[places] == now.users
        then, amounts = base.amounts[places[is_known]], now.amounts[is_known]
        self.kept[bucket] += amounts.sum()
        self.retained[bucket] += np.minimum(then, amounts).sum()
        self.kept_users[bucket] += amounts.size

    def retention(self) -> list[Integers]:
        """By bucket: `base`, `kept`, `retained`, `base_users` and `kept_users` at its end."""
        found = [self.base, self.kept, self.retained, self.base_users, self.kept_users]
        # the levels themselves where they are counted from what is kept, else by how much they change
        return found if self.before else [np.cumsum(sums) for sums in found]

    def subscribers(self) -> list[bytes]:
        """Who brings what at the end of each of the last days of which it is kept."""
        return [join_packed(packed) for packed in self._packed.values()]

    def _add_renewals(self, runs: "PaidRuns") -> None:
        day_of, is_due, goes_on = self.renewals(runs)
        np.add.at(self.due, day_of[is_due], 1)
        np.add.at(self.renewed, day_of[is_due & goes_on], 1)

    def renewals(self, runs: "PaidRuns") -> tuple[Integers, NDArray[np.bool_], NDArray[np.bool_]]:
        """On which day each term's grace ends, whether a renewal was due by then, and whether its run goes on.

        A term that no earlier one outlasts is due where it ends as it was to. A renewal that comes before the end
        counts on the same day as one that comes at the last moment.
        """
        paid, ends = runs.terms, runs.ends_at
        # a number for each user, chapter and end, in their order
        numbered = ranks(runs.pairs * (ends.size + 1) + ranks(ends))
        is_outlasted = np.maximum.accumulate(numbered) > numbered
        is_due = _is_whole(paid) & (paid.ends_at != NEVER) & (paid.stopped_at >= ends) & ~is_outlasted
        day_of = buckets(ends, self._days)
        goes_on = np.ones(numbered.size, np.bool_)
        goes_on[numbered[runs.pieces.terms[runs.pieces.is_last]]] = False
        return day_of, is_due & (day_of > 0) & (day_of < self._number), goes_on[numbered]

    def ask_who_had_paid(self, ask: Query, last_days: int) -> None:
        """Complete `regained` of the last `last_days` days.

        Some users have no term that reaches into the days from before, but may have one that ended earlier.
        """
        if not self._unsure:
            return
        users, day_of, amounts = (np.concatenate(parts) for parts in zip(*self._unsure, strict=True))
        asked = day_of >= self._number - last_days
        users, day_of, amounts = users[asked], day_of[asked], amounts[asked]
        had_paid = np.isin(users, _read_who_had_paid(ask, self._days, users))
        np.add.at(self.regained, day_of[had_paid], amounts[had_paid])


def who_had_paid(ask: Query, days: Days, users: Sequence[int]) -> set[int]:
    """Which of `users` had a paid term that began before `days`."""
    return set(_read_who_had_paid(ask, days, np.array(users, np.int64)).tolist())


def _read_who_had_paid(ask: Query, days: Days, users: Integers) -> Integers:
    everybody = users.size > MAX_LISTED
    limits = {"users": [] if everybody else users.tolist(), "everybody": everybody}
    return ask.columns(_EARLIER, ("user_id",), begins_at=days.begins_at, **limits)[0]


@dataclass(frozen=True, slots=True)
class PaidRuns:
    """Paid terms in order, until when each counts, and which of them counts at a moment."""

    terms: SubscriptionTerms
    pairs: Integers
    ends_at: Integers
    pieces: Pieces

    @classmethod
    def of(cls, terms: SubscriptionTerms, grace_days: int) -> "PaidRuns":
        """Those of `terms`, which are in order."""
        paid = terms.where(terms.amounts > 0)
        pairs, ends_at = paid.pairs(), counts_until(paid, grace_days)
        return cls(paid, pairs, ends_at, cut(pairs, paid.begins_at, ends_at))


@dataclass(frozen=True, slots=True)
class Steps:
    """What a day's steps together make of a user's amount, user by user and day by day."""

    users: Integers
    day_of: Integers
    step: Integers
    after: Integers
    #: Whether the user has no earlier one.
    is_first: NDArray[np.bool_]

    def at_end_of(self, bucket: int) -> Subscribers:
        """What the users bring at the end of a bucket."""
        is_over = self.day_of <= bucket
        is_last = is_over & np.append((self.users[1:] != self.users[:-1]) | ~is_over[1:], True)[: self.users.size]
        now = is_last & (self.after > 0)
        return Subscribers(self.users[now], self.after[now])


def by_user_and_day(users: Integers, at: Integers, amounts: Integers, days: Days) -> Steps:
    """The steps `amounts` of `users`, added up by day; those before the days are one, and later ones are left out."""
    day_of = buckets(at, days)
    inside = np.flatnonzero(day_of <= len(days))
    order = inside[order_by(users[inside], day_of[inside], len(days) + 1)]
    users, day_of, amounts = users[order], day_of[order], amounts[order]
    firsts = np.flatnonzero((np.diff(users, prepend=-1) != 0) | (np.diff(day_of, prepend=-1) != 0))
    step = np.add.reduceat(amounts, firsts) if firsts.size else firsts
    users, day_of = users[firsts], day_of[firsts]
    return Steps(users, day_of, step, _running(users, step), np.diff(users, prepend=-1) != 0)


def _running(users: Integers, steps: Integers) -> Integers:
    """What each user's steps have added up to, where the users are in order."""
    total = np.cumsum(steps)
    is_first = np.diff(users, prepend=-1) != 0
    base = (total - steps)[is_first]
    return total - base[np.cumsum(is_first) - 1] if users.size else total


def counts_until(terms: SubscriptionTerms, grace_days: int) -> Integers:
    """Until when each counts; there is no grace for what was stopped or cut short, and NEVER stays."""
    grace = grace_days * _DAY
    ends = np.where(_is_whole(terms), np.minimum(terms.ends_at, NEVER - grace) + grace, terms.ends_at)
    # returned in the grace, and not before its end
    ends = np.minimum(ends, np.maximum(terms.stopped_at, terms.ends_at))
    return np.where(terms.ends_at == NEVER, NEVER, ends)


def _is_whole(terms: SubscriptionTerms) -> NDArray[np.bool_]:
    """Whether each ran, or is to run, until it was to end as it was sold, or longer."""
    return (terms.stopped_at >= terms.due_at) & (terms.due_at >= terms.sold_until)


def numbers(days: Days, counted: Days, moved: Moves) -> Values:
    """The numbers above, for every one of `days`, from what moved in those that were `counted`."""
    levels, subscribers = np.cumsum(moved.step), np.cumsum(moved.users_gained - moved.users_lost)
    base, kept, retained, base_users, kept_users = moved.retention()
    all_due, all_renewed = moved.due[1:].tolist(), moved.renewed[1:].tolist()
    if moved.before:
        all_due, all_renewed = [*moved.before.due, *all_due], [*moved.before.renewed, *all_renewed]
    values: Values = {}
    for bucket, day in enumerate(counted, start=1):
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
            "subscribers_gained": int(moved.users_gained[bucket]),
            "subscribers_lost": int(moved.users_lost[bucket]),
            "renewals_due": int(moved.due[bucket]),
            "renewals": int(moved.renewed[bucket]),
        }
        if then := int(base[bucket]):
            grr, nrr = rounded(10_000 * int(retained[bucket]), then), rounded(10_000 * int(kept[bucket]), then)
            found |= {
                "grr_30": grr,
                "nrr_30": nrr,
                "gross_mrr_churn_30": 10_000 - grr,
                "net_mrr_churn_30": 10_000 - nrr,
            }
            users = int(base_users[bucket])
            found["customer_churn_30"] = rounded(10_000 * (users - int(kept_users[bucket])), users)
        until = bucket + (WINDOW_DAYS if moved.before else 0)
        window = slice(until - WINDOW_DAYS, until)
        if due := sum(all_due[window]):
            found["renewal_rate_30"] = rounded(10_000 * sum(all_renewed[window]), due)
        values[day] = found
    return values
