"""Subscriptions: who has access, which terms begin and end, and what they bring a month."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np

from services.stats.binary_column_reader import EPOCH, Integers
from services.stats.days import ONE_DAY, Days, midnight
from services.stats.sections import mrr
from services.stats.sections.base import (
    FOREVER,
    NONE,
    MetricDefinition,
    Query,
    Rules,
    Section,
    Unit,
    Values,
    breakdown,
    by_bucket,
    distinct,
    largest,
    running,
    span,
)
from services.stats.sections.disjoint_terms import Pieces, cut
from services.stats.sections.registered_users import registered
from services.stats.sections.revenue_recognition import Recognition, Spread
from services.stats.sections.subscription_terms import (
    NONE_GIVEN,
    SubscriptionTerms,
    buckets,
    level_names,
    read_terms,
    running_columns,
)
from services.stats.sections.term_calendar import day_number, monthly

NUMBERS = (
    MetricDefinition("total", Unit.COUNT, "Subscriptions created before the day's end.", reach_days=FOREVER),
    MetricDefinition("new", Unit.COUNT, "Subscriptions created in the day.", reach_days=30),
    MetricDefinition(
        "activated",
        Unit.COUNT,
        "Terms that began (activated_at) in the day, first ones and renewals.",
        reach_days=FOREVER,
    ),
    MetricDefinition(
        "students",
        Unit.COUNT,
        "Users with access to something at the day's end.",
        reach_days=FOREVER,
        source="subscriptions, subscription_terms",
    ),
    MetricDefinition(
        "active",
        Unit.COUNT,
        "Subscriptions with access at the day's end: a term of the same user and chapter runs, and several count once. "
        "One that was cancelled runs until its end; without an end, only until it was cancelled. One that expired "
        "before its end does not run.",
        reach_days=FOREVER,
        source="subscriptions, subscription_terms",
        reconciles="the day before, with those begun, without those ended",
    ),
    MetricDefinition(
        "expired",
        Unit.COUNT,
        "Terms that are over at the day's end, renewed or not; those that were returned are none.",
        reach_days=FOREVER,
        source="subscriptions, subscription_terms",
    ),
    MetricDefinition(
        "students_by_year",
        Unit.COUNT,
        "Users of `students`.",
        by="year of study",
        observed=True,
        source="subscriptions, subscription_terms, users",
        reconciles="students",
    ),
    MetricDefinition(
        "begun", Unit.COUNT, "Subscriptions of `active` that began in the day; a renewal is none.", reach_days=FOREVER
    ),
    MetricDefinition(
        "ended", Unit.COUNT, "Subscriptions that ended in the day without another term.", reach_days=FOREVER
    ),
    MetricDefinition(
        "expiring_7",
        Unit.COUNT,
        "Subscriptions of `active` whose term (the one that began last) is due to end within the next 7 days.",
    ),
    MetricDefinition(
        "expiring_30",
        Unit.COUNT,
        "Subscriptions of `active` whose term (the one that began last) is due to end within the next 30 days.",
    ),
    MetricDefinition(
        "active_by_level",
        Unit.COUNT,
        "Subscriptions of `active`, by the term that began last.",
        by="access level",
        reach_days=FOREVER,
    ),
    MetricDefinition(
        "popular_chapters", Unit.COUNT, "Subscriptions of `active`.", by="chapter's id", reach_days=FOREVER
    ),
    MetricDefinition(
        "pending", Unit.COUNT, "Subscriptions created before the day's end that wait for payment.", observed=True
    ),
    *mrr.NUMBERS,
)

_CREATED = """
SELECT width_bucket(created_at, %(edges)s) AS bucket, count(*) AS subscriptions FROM subscriptions
WHERE created_at >= %(begins_at)s AND created_at < %(ends_at)s GROUP BY bucket
"""

_CREATED_BEFORE = "SELECT count(*) AS subscriptions FROM subscriptions WHERE created_at < %(begins_at)s"

# few, and an index has them
_PENDING = """
SELECT width_bucket(created_at, %(edges)s) AS bucket, count(*) AS subscriptions FROM subscriptions
WHERE status = 'pending_payment' AND created_at < %(ends_at)s GROUP BY bucket
"""

_OVER = """
SELECT count(*) AS terms FROM subscriptions AS one
LEFT JOIN subscription_terms AS kept ON kept.subscription_id = one.id AND kept.activated_at = one.activated_at
WHERE one.status <> 'pending_payment' AND one.activated_at < %(begins_at)s
  AND (one.ends_at IS NOT NULL OR kept.stopped_at IS NOT NULL OR one.status = 'active')
  AND least(one.ends_at, kept.stopped_at) > one.activated_at AND least(one.ends_at, kept.stopped_at) < %(begins_at)s
"""

#: How many days ahead expiring subscriptions are counted.
_AHEAD = (7, 30)


@dataclass(frozen=True, slots=True)
class Counted:
    """What one pass over all terms finds."""

    stock: "Stock"
    moves: mrr.Moves
    #: The days that `moves` is of: those before are what rates compare with.
    moved_in: Days
    recognition: Recognition


def count_terms(ask: Query, days: Days, grace_days: int) -> Counted:
    """Read every term once, for all that is counted of terms."""
    before = mrr.read_month_before(ask, days, grace_days)
    longer = days if before else days.reaching_back(mrr.WINDOW_DAYS)
    kept_days = len(days) if len(days) <= mrr.MAX_KEPT else 0
    moves = mrr.Moves(longer, grace_days, before, kept_days)
    counted = Counted(Stock(days), moves, longer, Recognition(days))

    first = (days.begins_at - EPOCH) // timedelta(microseconds=1)

    def take(terms: SubscriptionTerms) -> None:
        counted.moves.add(terms)
        # the days alone, and not those that rates compare with
        later = terms.where(terms.reaches_until() >= first)
        counted.stock.add(later)
        counted.recognition.add(later)

    read_terms(ask, longer.reaching_back(grace_days + 1), take)
    counted.moves.ask_who_had_paid(ask, len(days))
    return counted


def compute(ask: Query, days: Days, rules: Rules) -> Values:
    new, waiting = (
        by_bucket(days, ((row.bucket, row.subscriptions) for row in ask(query, **span(days))))
        for query in (_CREATED, _PENDING)
    )
    before = ask.kept(days.first - ONE_DAY, "subscriptions.total")
    new[0] = ask(_CREATED_BEFORE, **span(days))[0].subscriptions if before is None else before
    pending = running(waiting)
    counted = ask.once(count_terms, days, rules.grace_days)
    stock = counted.stock
    months = mrr.numbers(days, counted.moved_in, counted.moves)
    chapters = stock.by_chapter.running({NONE_GIVEN: NONE})
    levels = stock.by_level.running(level_names(ask, stock.by_level.keys))
    total, students = running(new), np.cumsum(stock.students)
    over = ask.kept(days.first - ONE_DAY, "subscriptions.expired")
    over = ask(_OVER, begins_at=days.begins_at)[0].terms if over is None else over
    values: Values = {}
    for bucket, day in enumerate(days, start=1):
        over += int(stock.over[bucket])
        values[day] = {
            "total": total[bucket],
            "new": new[bucket],
            "expired": over,
            "activated": int(stock.activated[bucket]),
            "students": int(students[bucket]),
            "active": sum(counts[bucket] for counts in levels.values()),
            "begun": int(stock.begun[bucket]),
            "ended": int(stock.ended[bucket]),
            **{f"expiring_{within}": int(counts[bucket]) for within, counts in stock.expiring.items()},
            "active_by_level": breakdown(levels, bucket),
            "popular_chapters": breakdown(chapters, bucket),
            "pending": pending[bucket],
            **months[day],
        }
    # a year of study keeps no history: it is known of the last day at most
    students_now = distinct(np.concatenate([np.zeros(0, np.int64), *stock.last]))
    values[days.last]["students_by_year"] = _by_year(ask, days, students_now)
    return values


def _by_year(ask: Query, days: Days, students: Integers) -> dict[str, int]:
    """How many of them there are of each year of study."""
    counts = {
        NONE if year is None else year: int(np.count_nonzero(np.isin(users, students, assume_unique=True)))
        for year, users in ask.once(registered, days).items()
    }
    return largest({year: count for year, count in counts.items() if count})


@dataclass(frozen=True, slots=True)
class RunningTerm:
    """A term, and what it adds to a number."""

    id: int
    user_id: int
    begins_at: int
    chapter: str | None
    level: str | None
    amount: int
    #: When access ended or will end, and when the term was to end before somebody stopped it.
    ends_at: int
    due_at: int


Chosen = tuple[SubscriptionTerms, Integers]


def with_access(ask: Query, days: Days) -> list[RunningTerm]:
    """The terms by which somebody has access at the end of `days`; each amounts to 1."""

    def choose(terms: SubscriptionTerms) -> Chosen:
        return _ones(terms.take(_now(cut(terms.pairs(), terms.begins_at, terms.ends_at), days)))

    return _chosen(ask, days, choose)


def subscribed(ask: Query, days: Days, chapters: Sequence[int]) -> dict[int, int]:
    """How many subscriptions to each of these chapters somebody has access by at the end of `days`."""
    whose, users = running_columns(ask, days, sorted(set(chapters)))
    # of one user and chapter one term counts at a moment
    order = np.lexsort((users, whose))
    whose, users = whose[order], users[order]
    is_first = np.append(True, (np.diff(whose) != 0) | (np.diff(users) != 0))[: whose.size]
    found, counts = np.unique(whose[is_first], return_counts=True)
    return dict(zip(found.tolist(), counts.tolist(), strict=True))


def due_within(ask: Query, days: Days, within: int) -> list[RunningTerm]:
    """Those of them that are due to end within so many days."""
    last = midnight(days.last + ONE_DAY * (within + 1), days.zone)
    limit = (last - EPOCH) // timedelta(microseconds=1)

    def choose(terms: SubscriptionTerms) -> Chosen:
        found = terms.take(_now(cut(terms.pairs(), terms.begins_at, terms.ends_at), days))
        return _ones(found.where(found.due_at < limit))

    return _chosen(ask, days, choose)


def turned(ask: Query, days: Days, what: str) -> list[RunningTerm]:
    """The terms that were `activated` on the one day of `days`, or with which subscriptions have `begun` or `ended`."""

    def choose(terms: SubscriptionTerms) -> Chosen:
        if what == "activated":
            return _ones(terms.where(buckets(terms.begins_at, days) == 1))
        pieces = cut(terms.pairs(), terms.begins_at, terms.ends_at)
        at, is_one = (pieces.begins_at, pieces.is_first) if what == "begun" else (pieces.ends_at, pieces.is_last)
        return _ones(terms.take(pieces.terms[is_one & (buckets(at, days) == 1)]))

    return _chosen(ask, days, choose)


def with_mrr(ask: Query, days: Days, grace_days: int) -> list[RunningTerm]:
    """The terms that bring MRR at the end of `days`, and what they bring."""

    def choose(terms: SubscriptionTerms) -> Chosen:
        runs = mrr.PaidRuns.of(terms, grace_days)
        found = runs.terms.take(_now(runs.pieces, days))
        return found, monthly(found, days.zone)

    return _chosen(ask, days.reaching_back(grace_days + 1), choose)


def renewing(ask: Query, days: Days, grace_days: int, *, is_renewed: bool) -> list[RunningTerm]:
    """The terms that were due for a renewal on the one day of `days`, or only those that were renewed."""
    moves = mrr.Moves(days, grace_days)

    def choose(terms: SubscriptionTerms) -> Chosen:
        runs = mrr.PaidRuns.of(terms, grace_days)
        day_of, is_due, goes_on = moves.renewals(runs)
        return _ones(runs.terms.where(is_due & (day_of == 1) & (goes_on | (not is_renewed))))

    return _chosen(ask, days.reaching_back(grace_days + 1), choose)


def recognised(ask: Query, days: Days, *, is_deferred: bool) -> list[RunningTerm]:
    """The terms that earn something on the one day of `days`, or of which something is still to be earned, and what."""
    day = day_number(days.last)

    def choose(terms: SubscriptionTerms) -> Chosen:
        spread = Spread.of(terms, days.zone)
        if is_deferred:
            amounts = spread.paid_by(day) - spread.earned_by(day)
        else:
            amounts = spread.earned_by(day) - spread.earned_by(day - 1)
        return terms.where(amounts != 0), amounts[amounts != 0]

    return _chosen(ask, days, choose)


def _now(pieces: Pieces, days: Days) -> Integers:
    """The terms that count at the end of `days`."""
    last = midnight(days.last + ONE_DAY, days.zone)
    ends_at = (last - EPOCH) // timedelta(microseconds=1)
    now: Integers = pieces.terms[(pieces.begins_at < ends_at) & (pieces.ends_at >= ends_at)]
    return now


def _ones(terms: SubscriptionTerms) -> Chosen:
    return terms, np.ones_like(terms.users)


def _chosen(ask: Query, days: Days, choose: Callable[[SubscriptionTerms], Chosen]) -> list[RunningTerm]:
    found: list[tuple[int, ...]] = []

    def take(terms: SubscriptionTerms) -> None:
        one, amounts = choose(terms)
        columns = (one.ids, one.users, one.begins_at, one.chapters, one.levels, amounts, one.ends_at, one.due_at)
        found.extend(zip(*(column.tolist() for column in columns), strict=True))

    read_terms(ask, days, take)
    levels = level_names(ask, {row[4] for row in found})
    return [
        RunningTerm(
            number,
            user_id,
            begins_at,
            None if chapter == NONE_GIVEN else str(chapter),
            None if level == NONE_GIVEN else levels[level],
            amount,
            ends_at,
            due_at,
        )
        for number, user_id, begins_at, chapter, level, amount, ends_at, due_at in found
    ]


@dataclass(frozen=True, slots=True)
class UserMove:
    """A user's MRR before a day and at its end, and whether the user had paid before that day."""

    user_id: int
    before: int
    after: int
    had_paid: bool


def user_moves(ask: Query, days: Days, grace_days: int) -> list[UserMove]:
    """The users whose MRR is another at the end of the one day of `days`."""
    found = mrr.Moves(days, grace_days)
    moved: list[UserMove] = []

    def take(terms: SubscriptionTerms) -> None:
        steps = found.steps(mrr.PaidRuns.of(terms, grace_days))
        now = (steps.day_of == 1) & (steps.step != 0)
        columns = (steps.users[now], (steps.after - steps.step)[now], steps.after[now], ~steps.is_first[now])
        moved.extend(UserMove(*row) for row in zip(*(column.tolist() for column in columns), strict=True))

    read_terms(ask, days.reaching_back(grace_days + 1), take)
    earlier = mrr.who_had_paid(ask, days, [one.user_id for one in moved if not one.had_paid])
    return [replace(one, had_paid=True) if one.user_id in earlier else one for one in moved]


class Stock:
    """How many subscriptions begin, end and run, by bucket."""

    def __init__(self, days: Days) -> None:
        self._days, self._number = days, len(days) + 2
        self.activated, self.begun, self.ended, self.over = (np.zeros(self._number, np.int64) for _ in range(4))
        #: The users who have access at the end of the last day.
        self.last: list[Integers] = []
        #: How many more users have access than in the bucket before.
        self.students = np.zeros(self._number, np.int64)
        self.by_chapter, self.by_level = _Steps(self._number), _Steps(self._number)
        #: Those that end within so many days.
        self.expiring = {within: np.zeros(self._number, np.int64) for within in _AHEAD}

    def add(self, terms: SubscriptionTerms) -> None:
        """Count these, which are in order."""
        pieces = cut(terms.pairs(), terms.begins_at, terms.ends_at)
        begun, ended = buckets(pieces.begins_at, self._days), buckets(pieces.ends_at, self._days)
        self._add_to(self.activated, buckets(terms.begins_at, self._days))
        self._add_to(self.over, buckets(terms.ends_at[terms.returned == 0], self._days))
        self.last.append(distinct(terms.users[_now(pieces, self._days)]))
        self._add_to(self.begun, begun[pieces.is_first])
        self._add_to(self.ended, ended[pieces.is_last])
        self.by_chapter.add(terms.chapters[pieces.terms], begun, ended)
        self.by_level.add(terms.levels[pieces.terms], begun, ended)
        self._add_students(terms, pieces)
        self._add_expiring(terms, pieces)

    def _add_to(self, sums: Integers, found: Integers) -> None:
        sums += np.bincount(found, minlength=self._number)

    def _add_students(self, terms: SubscriptionTerms, pieces: Pieces) -> None:
        whose = terms.users[pieces.terms]
        one = np.ones_like(whose)
        found = mrr.by_user_and_day(
            np.concatenate((whose, whose)),
            np.concatenate((pieces.begins_at, pieces.ends_at)),
            np.concatenate((one, -one)),
            self._days,
        )
        has, had = found.after > 0, found.after - found.step > 0
        np.add.at(self.students, found.day_of, has.astype(np.int64) - had)

    def _add_expiring(self, terms: SubscriptionTerms, pieces: Pieces) -> None:
        for within, counts in self.expiring.items():
            ahead = Days(self._days.first, self._days.last + ONE_DAY * within, self._days.zone)
            number = len(ahead) + 2
            until = buckets(pieces.ends_at, ahead)
            # those that are due later than that begin to expire after the days
            begins = np.maximum(buckets(pieces.begins_at, ahead), buckets(terms.due_at[pieces.terms], ahead) - within)
            begins = np.minimum(begins, until)
            found = np.cumsum(np.bincount(begins, minlength=number) - np.bincount(until, minlength=number))
            counts += found[: self._number]


class _Steps:
    """How many more begin than end, by a key and by bucket."""

    def __init__(self, number: int) -> None:
        self.keys: list[int] = []
        self._table = np.zeros((0, number), np.int64)

    def add(self, keys: Integers, begun: Integers, ended: Integers) -> None:
        """Count the subscriptions with these keys, and the buckets in which they begin and end."""
        known = np.union1d(np.array(self.keys, np.int64), keys)
        table = np.zeros((known.size, self._table.shape[1]), np.int64)
        table[np.searchsorted(known, self.keys)] = self._table
        rows = np.searchsorted(known, keys) * table.shape[1]
        for sign, at in ((1, begun), (-1, ended)):
            table += sign * np.bincount(rows + at, minlength=table.size).reshape(table.shape)
        self.keys, self._table = known.tolist(), table

    def running(self, names: Mapping[int, str]) -> dict[str, list[int]]:
        """How many run at the end of each bucket, by the key's name, or by the key where it has none."""
        rows = zip(self.keys, np.cumsum(self._table, axis=1).tolist(), strict=True)
        return {names.get(key, str(key)): counts for key, counts in rows}


SECTION = Section("subscriptions", NUMBERS, compute, weight=6, source="subscriptions")
