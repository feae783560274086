"""The rows of numbers that are counted from terms: a page reads the terms of its own users alone."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from services.stats.binary_column_reader import EPOCH, Integers
from services.stats.days import Days
from services.stats.rows.request_model import RowsRequest
from services.stats.rows.row import Row, first_page, tests_of
from services.stats.sections import subscriptions
from services.stats.sections.base import Query, Rules, span

#: A page of what was expected reads the subscriptions of so many sessions' chapters.
_SESSIONS = 100
#: Finds the rows of a number that is counted from terms.
Reading = Callable[[Query, Days, Rules], Iterator[Row]]

# A term that runs at the day's end, with the grace of MRR, or earns something later than the day's start. Those of
# `subscription_terms` may have ended otherwise than their subscription says.
_RUNS = """
activated_at < %(ends_at)s AND (ends_at IS NULL OR ends_at >= %(begins_at)s - %(grace)s * interval '24 hours' {stopped})
"""
# One that runs at the day's end and is due to end within so many days.
_EXPIRES = "activated_at < %(ends_at)s AND ends_at >= %(ends_at)s AND ends_at < %(ends_at)s + interval '{days} days'"
# A term that begins, ends or whose grace ends in the day.
_BEGINS = "activated_at >= %(begins_at)s AND activated_at < %(ends_at)s"
_ENDS = "(ends_at >= %(begins_at)s AND ends_at < %(ends_at)s {stopped})"
_GRACE = "%(grace)s * interval '24 hours'"
_GRACE_ENDS = f"ends_at >= %(begins_at)s - {_GRACE} AND ends_at < %(ends_at)s - {_GRACE}"
_TURNS = f"({_BEGINS} OR {_ENDS} OR {_GRACE_ENDS})"
_STOPPED = "OR stopped_at >= %(begins_at)s"
# More may be found than have a say in the number, and none may be missing. Of each table so many are found at once.
_CANDIDATES = """
(SELECT 0::bigint AS part, {cursor} AS id, user_id FROM subscriptions AS term
 WHERE status <> 'pending_payment' AND {condition} AND {cursor} > %(after)s {tests} ORDER BY 2 LIMIT %(width)s)
UNION ALL
(SELECT 1::bigint AS part, {kept_cursor} AS id, user_id FROM subscription_terms AS term
 WHERE {kept_condition} AND {kept_cursor} > %(after)s {tests} ORDER BY 2 LIMIT %(width)s)
"""
#: More than there are of any.
_ALL = 2**31
_OF_YEAR = " AND EXISTS (SELECT FROM users WHERE users.id = term.user_id AND {test})"
_PLANNED = """
SELECT id, chapter_id::text AS chapter, chapter_id, starts_at FROM sessions
WHERE starts_at >= %(begins_at)s AND starts_at < %(ends_at)s AND chapter_id IS NOT NULL AND id > %(after)s ORDER BY id
"""


@dataclass(frozen=True, slots=True)
class Terms:
    """How the rows of a number are found."""

    read: Reading
    #: Which terms may have a say in it.
    condition: str = _RUNS
    #: Whether many terms do: then the first of them are found without the others.
    are_many: bool = True
    #: The rows are users, and not subscriptions.
    of_users: bool = False
    #: The column that its key is.
    key: str | None = None

    def candidates(
        self, ask: Query, request: RowsRequest, after: int, width: int
    ) -> tuple[Integers, Integers, int | None]:
        """The ids and users of the first terms after `after` that may have a say in it, in the order of the rows, and
        until which id they are all; None where there are no more."""
        tests = tests_of(self.key, request.key) if self.key else []
        clause = "".join((_OF_YEAR.format(test=test) if self.key == _YEAR else f" AND {test}") for test in tests)
        parts, ids, users = ask.columns(
            _CANDIDATES.format(
                condition=self.condition.format(stopped=""),
                kept_condition=self.condition.format(stopped=_STOPPED),
                cursor="user_id" if self.of_users else "id",
                kept_cursor="user_id" if self.of_users else "subscription_id",
                tests=clause,
            ),
            ("part", "id", "user_id"),
            **span(request.days),
            after=after,
            width=width,
            key=request.key,
            named=list(request.named),
            grace=request.rules.grace_days,
        )
        # what lies after the end of a table's part is not known to be all
        ends = [int(ids[parts == part].max()) for part in (0, 1) if np.count_nonzero(parts == part) == width]
        until = min(ends, default=None)
        order = np.argsort(ids, kind="stable")
        order = order if until is None else order[ids[order] <= until]
        return ids[order], users[order], until


_YEAR = "users.year_of_study"


def find_rows(ask: Query, request: RowsRequest) -> tuple[list[Row], int | None]:
    """The rows of one of `OF_TERMS`, and where a page ended before it was full the last id that it read."""
    if request.number != "attendance.expected":
        return _of_terms(ask, request, OF_TERMS[request.number]), None
    planned = ask(_PLANNED, **span(request.days), after=request.after)
    some = planned if request.limit is None else planned[: min(request.limit, _SESSIONS)]
    found = request.matching(_expected(ask, request.days, some))
    return found, some[-1].id if len(some) < len(planned) else None


def _of_terms(ask: Query, request: RowsRequest, terms: Terms) -> list[Row]:
    days, rules, after, limit = request.days, request.rules, request.after, request.limit
    if limit is None:
        return _matching(request, terms.read(ask, days, rules), after, None)
    found: list[Row] = []
    piece, width = 2 * limit, 2 * limit if terms.are_many else _ALL
    known_until: int | None = after
    while known_until is not None and len(found) < limit:
        ids, users, known_until = terms.candidates(ask, request, known_until, width)
        begin = 0
        while begin < ids.size and len(found) < limit:
            last = int(ids[min(begin + piece, ids.size) - 1])
            # all terms of one id are read together
            end = int(np.searchsorted(ids, last, side="right"))
            some = ask.of_users(np.unique(users[begin:end]).tolist())
            found += _matching(request, terms.read(some, days, rules), after, last)
            begin, after, piece = end, last, 2 * piece
        width *= 4
    return first_page(found, limit)


def _matching(request: RowsRequest, found: Iterator[Row], after: int, last: int | None) -> list[Row]:
    inside = (row for row in found if after < row.id and (last is None or row.id <= last))
    return sorted(request.matching(inside), key=lambda row: row.id)


def _row(one: subscriptions.RunningTerm, key: str | None, ends_at: int) -> Row:
    begin, end = _instant(one.begins_at), _instant(ends_at)
    return Row("subscriptions", one.id, one.user_id, begin, key, one.amount, chapter=one.chapter, ends_at=end)


def _of(
    read_terms: Callable[[Query, Days, Rules], list[subscriptions.RunningTerm]], *, is_due: bool = False
) -> Reading:
    """`is_due`: the end of a row is the one that the term was due to have, also where somebody stopped it since."""

    def read(ask: Query, days: Days, rules: Rules) -> Iterator[Row]:
        for one in read_terms(ask, days, rules):
            yield _row(one, None, one.due_at if is_due else one.ends_at)

    return read


def _access(key: str) -> Reading:
    def read(ask: Query, days: Days, rules: Rules) -> Iterator[Row]:
        for one in subscriptions.with_access(ask, days):
            yield _row(one, getattr(one, key, None), one.ends_at)

    return read


def _students_by_year(ask: Query, days: Days, rules: Rules) -> Iterator[Row]:
    students = list(_students(ask, days, rules))
    found = ask(
        "SELECT id, year_of_study AS year FROM users WHERE id = ANY (%(ids)s)", ids=[one.id for one in students]
    )
    years = {row.id: row.year for row in found}
    return (replace(one, key=years[one.id]) for one in students)


def _monthly(ask: Query, days: Days, rules: Rules) -> Iterator[Row]:
    for one in subscriptions.with_mrr(ask, days, rules.grace_days):
        yield _row(one, one.chapter, one.ends_at)


def _subscribers(ask: Query, days: Days, rules: Rules) -> Iterator[Row]:
    found = subscriptions.with_mrr(ask, days, rules.grace_days)
    # a term whose month rounds to nothing brings nothing
    for user_id in sorted({one.user_id for one in found if one.amount}):
        yield Row("users", user_id, user_id, None, None, 1)


def _students(ask: Query, days: Days, rules: Rules) -> Iterator[Row]:
    for user_id in sorted({one.user_id for one in subscriptions.with_access(ask, days)}):
        yield Row("users", user_id, user_id, None, None, 1)


def _moved(test: Callable[[subscriptions.UserMove], int]) -> Terms:
    def read(ask: Query, days: Days, rules: Rules) -> Iterator[Row]:
        for one in subscriptions.user_moves(ask, days, rules.grace_days):
            if amount := test(one):
                yield Row("users", one.user_id, one.user_id, None, None, amount)

    return Terms(read, _TURNS, are_many=False, of_users=True)


def _expected(ask: Query, days: Days, planned: Sequence[Any]) -> Iterator[Row]:
    subscribed = Counter(subscriptions.subscribed(ask, days, [row.chapter_id for row in planned]))
    for row in planned:
        if amount := subscribed[row.chapter_id]:
            yield Row("sessions", row.id, None, row.starts_at, row.chapter, amount)


def _instant(microseconds: int) -> datetime | None:
    try:
        return EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        return None


def _renewals(*, is_renewed: bool) -> Terms:
    return Terms(
        _of(lambda ask, days, rules: subscriptions.renewing(ask, days, rules.grace_days, is_renewed=is_renewed)),
        _GRACE_ENDS,
        are_many=False,
    )


def _turned(what: str, condition: str) -> Terms:
    return Terms(_of(lambda ask, days, rules: subscriptions.turned(ask, days, what)), condition, are_many=False)


def _expiring(within: int) -> Terms:
    # a day has up to 25 hours
    condition = _EXPIRES.replace("{days}", str(within + 1))
    return Terms(_of(lambda ask, days, rules: subscriptions.due_within(ask, days, within), is_due=True), condition)


#: By number; `attendance.expected` is found by its sessions.
OF_TERMS: Mapping[str, Terms] = {
    "revenue.earned": Terms(_of(lambda ask, days, rules: subscriptions.recognised(ask, days, is_deferred=False))),
    "revenue.deferred": Terms(_of(lambda ask, days, rules: subscriptions.recognised(ask, days, is_deferred=True))),
    "subscriptions.activated": _turned("activated", _BEGINS),
    "subscriptions.begun": _turned("begun", _BEGINS),
    "subscriptions.ended": _turned("ended", _ENDS),
    "subscriptions.expiring_7": _expiring(7),
    "subscriptions.expiring_30": _expiring(30),
    "subscriptions.renewals_due": _renewals(is_renewed=False),
    "subscriptions.renewals": _renewals(is_renewed=True),
    "subscriptions.active": Terms(_access("")),
    "subscriptions.active_by_level": Terms(_access("level"), key="access_level"),
    "subscriptions.popular_chapters": Terms(_access("chapter"), key="chapter_id"),
    "attendance.expected": Terms(lambda ask, days, rules: _expected(ask, days, ask(_PLANNED, **span(days), after=0))),
    "subscriptions.students": Terms(_students, of_users=True),
    "subscriptions.students_by_year": Terms(_students_by_year, of_users=True, key=_YEAR),
    "subscriptions.mrr": Terms(_monthly, key="chapter_id"),
    "subscriptions.subscribers": Terms(_subscribers, of_users=True),
    "subscriptions.mrr_new": _moved(lambda one: 0 if one.before or one.had_paid else one.after),
    "subscriptions.mrr_reactivation": _moved(lambda one: one.after if one.had_paid and not one.before else 0),
    "subscriptions.mrr_expansion": _moved(lambda one: max(one.after - one.before, 0) if one.before else 0),
    "subscriptions.mrr_contraction": _moved(lambda one: max(one.before - one.after, 0) if one.after else 0),
    "subscriptions.mrr_churn": _moved(lambda one: 0 if one.after else one.before),
    "subscriptions.subscribers_gained": _moved(lambda one: int(one.after > 0 == one.before)),
    "subscriptions.subscribers_lost": _moved(lambda one: int(one.before > 0 == one.after)),
}
