"""The oracle's numbers about subscriptions: who has access, what they bring a month, and what was earned of it.

A term is what was sold: one user, one chapter or none, from an instant on, until another or for ever, for an amount.
"""

import calendar
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from fractions import Fraction
from functools import cached_property

from tests.stats.oracle_day import Moment, Row, count, half_up, ratio

_DAY = timedelta(days=1)
_MONTH = timedelta(days=30)
GRACE = timedelta(days=7)

Pair = tuple[int, int | None]


@dataclass(frozen=True)
class Term:
    """One term; None for an end is never."""

    id: int
    user: int
    chapter: int | None
    level: str | None
    amount: int
    begins: datetime
    #: When access ended, when it was to end in the end, and when it was to end when it was sold.
    ends: datetime | None
    due: datetime | None
    sold: datetime | None
    stopped: datetime | None
    returned: bool

    @property
    def pair(self) -> Pair:
        return self.user, self.chapter

    def has_access(self, at: datetime) -> bool:
        return self.begins <= at and (self.ends is None or at < self.ends)

    @property
    def is_whole(self) -> bool:
        """Whether nobody stopped it or cut it short: it is to run until the end that was sold, or beyond it."""
        return not _earlier(self.stopped, self.due) and not _earlier(self.due, self.sold)

    @property
    def counts_until(self) -> datetime | None:
        """Until when it brings MRR: a while longer than it runs, so that a late renewal is no loss."""
        if self.ends is None or not self.is_whole:
            return self.ends
        late = self.ends + GRACE
        return late if self.stopped is None else min(late, max(self.stopped, self.ends))


class Terms(Moment):
    """What a day's subscriptions are."""

    @cached_property
    def terms(self) -> list[Term]:
        kept = {(row["subscription_id"], row["activated_at"]): row for row in self.school["subscription_terms"]}
        found = []
        for row in self.school["subscriptions"]:
            if row["status"] == "pending_payment" or row["activated_at"] is None:
                continue
            sold = kept.pop((row["id"], row["activated_at"]), None)
            stopped = sold["stopped_at"] if sold else None
            if row["status"] != "active" and row["ends_at"] is None and stopped is None:
                continue  # nobody knows when it ended
            found.append(_term(row, row["id"], row["ends_at"], sold or row, stopped, returned=False))
        for row in kept.values():
            if row["is_returned"]:
                found.append(_term(row, row["subscription_id"], row["ends_at"], row, row["stopped_at"], returned=True))
        return [term for term in found if term.ends is None or term.ends > term.begins]

    def end_of(self, day: date) -> datetime:
        """The last moment of a day."""
        return datetime.combine(day + _DAY, time.min, tzinfo=self.zone).astimezone(UTC) - timedelta(microseconds=1)

    # -- access

    def running(self, day: date | None = None) -> dict[Pair, Term]:
        """Who has access to what at the day's end, and by which term: the one that began last."""
        at = self.end_of(day or self.day)
        return _last([term for term in self.terms if term.has_access(at)])

    def _years(self, students: set[int]) -> Row:
        return count(user["year_of_study"] for user in self.school["users"] if user["id"] in students)

    def subscriptions(self) -> Row:
        run = self.running()
        known = self.rows("subscriptions", "created_at", self.by_end)
        begun, ended = self._turns()

        def ends_within(days: int) -> int:
            last = self.day + timedelta(days=days)
            return sum(term.due is not None and self.local(term.due) <= last for term in run.values())

        return {
            "total": len(known),
            "new": len(self.rows("subscriptions", "created_at")),
            "activated": sum(self.within(term.begins) for term in self.terms),
            "students": len({user for user, _ in run}),
            "active": len(run),
            "expired": sum(self.by_end(term.ends) for term in self.terms if not term.returned),
            "students_by_year": self._years({user for user, _ in run}),
            "begun": begun,
            "ended": ended,
            "expiring_7": ends_within(7),
            "expiring_30": ends_within(30),
            "active_by_level": count(term.level for term in run.values()),
            "popular_chapters": count(chapter for _, chapter in run),
            "pending": sum(term["status"] == "pending_payment" for term in known),
            **self._mrr(),
            **self._retention(),
            **self._renewals(),
        }

    def _turns(self) -> tuple[int, int]:
        """How often something began where nothing was, and ended where nothing followed, within the day."""
        begun = ended = 0
        for pair in {term.pair for term in self.terms}:
            ours = [term for term in self.terms if term.pair == pair]
            for at in {term.begins for term in ours if self.within(term.begins)}:
                begun += not any(t.begins < at and (t.ends is None or t.ends >= at) for t in ours)
            for at in {term.ends for term in ours if term.ends and self.within(term.ends)}:
                ended += not any(t.begins <= at and (t.ends is None or t.ends > at) for t in ours)
        return begun, ended

    # -- what they bring a month

    def monthly(self, term: Term) -> int:
        """What a term brings a month: by its calendar months if these are whole, or else by 30 days."""
        if term.sold is None:
            return term.amount
        months = self._calendar_months(term.begins, term.sold)
        length = max((term.sold - term.begins) // timedelta(seconds=1) * timedelta(seconds=1), _DAY)
        return half_up(
            Fraction(term.amount, months) if months else Fraction(term.amount * (_MONTH // _s), length // _s)
        )

    def _calendar_months(self, begins: datetime, ends: datetime) -> int:
        first, last = self.local(begins), self.local(ends)
        months = 12 * (last.year - first.year) + last.month - first.month
        longest = calendar.monthrange(last.year, last.month)[1]
        is_same_day = last.day == min(first.day, longest)
        is_same_time = begins - self._midnight(first) == ends - self._midnight(last)
        return months if months > 0 and is_same_day and is_same_time else 0

    def _midnight(self, day: date) -> datetime:
        return datetime.combine(day, time.min, tzinfo=self.zone).astimezone(UTC)

    def mrr_by_user(self, day: date) -> dict[int, int]:
        """What each user brings a month at the last moment of `day`; users who bring nothing are left out."""
        at = self.end_of(day)
        counting = [
            term
            for term in self.terms
            if term.amount and term.begins <= at and (term.counts_until is None or at < term.counts_until)
        ]
        found: Counter[int] = Counter()
        for (user, _), term in _last(counting).items():
            found[user] += self.monthly(term)
        return {user: amount for user, amount in found.items() if amount}

    def _mrr(self) -> Row:
        today, yesterday = self.mrr_by_user(self.day), self.mrr_by_user(self.day - _DAY)
        found = dict.fromkeys(("new", "expansion", "reactivation", "contraction", "churn"), 0)
        for user in {*today, *yesterday}:
            before, after = yesterday.get(user, 0), today.get(user, 0)
            if not before and after:
                paid = [term for term in self.terms if term.user == user and term.amount]
                found["reactivation" if any(self.local(t.begins) < self.day for t in paid) else "new"] += after
            elif before and not after:
                found["churn"] += before
            else:
                found["expansion" if after > before else "contraction"] += abs(after - before)
        return {
            "mrr": sum(today.values()),
            **{f"mrr_{name}": amount for name, amount in found.items()},
            "subscribers": len(today),
            "subscribers_gained": len(today.keys() - yesterday.keys()),
            "subscribers_lost": len(yesterday.keys() - today.keys()),
        }

    def _retention(self) -> Row:
        """What became of the users of 30 days before, and of what they brought then."""
        then, now = self.mrr_by_user(self.day - timedelta(days=30)), self.mrr_by_user(self.day)
        base = sum(then.values())
        if not base:
            return {}
        nrr = ratio(sum(now.get(user, 0) for user in then), base, 10_000)
        grr = ratio(sum(min(now.get(user, 0), amount) for user, amount in then.items()), base, 10_000)
        assert nrr is not None
        assert grr is not None
        return {
            "nrr_30": nrr,
            "grr_30": grr,
            "net_mrr_churn_30": 10_000 - nrr,
            "gross_mrr_churn_30": 10_000 - grr,
            "customer_churn_30": ratio(len(then.keys() - now.keys()), len(then), 10_000),
        }

    def _renewals(self) -> Row:
        due = renewed = 0
        for back in range(30):
            due_then, renewed_then = self._renewals_on(self.day - timedelta(days=back))
            due, renewed = due + due_then, renewed + renewed_then
        due_now, renewed_now = self._renewals_on(self.day)
        return {"renewals_due": due_now, "renewals": renewed_now, "renewal_rate_30": ratio(renewed, due, 10_000)}

    def _renewals_on(self, day: date) -> tuple[int, int]:
        due = renewed = 0
        paid = [term for term in self.terms if term.amount]
        for term in paid:
            until = term.counts_until
            if until is None or not term.is_whole or _earlier(term.stopped, until) or not self.within(until, day):
                continue
            ours = [other for other in paid if other.pair == term.pair and other is not term]
            earlier = [other for other in ours if _order(other) < _order(term)]
            if any(other.counts_until is None or other.counts_until > until for other in earlier):
                continue  # it ended within a longer one
            due += 1
            renewed += any(
                other.begins <= until and (other.counts_until is None or other.counts_until > until) for other in ours
            )
        return due, renewed

    # -- what was earned

    def paid_by(self, day: date) -> int:
        """What was paid for all terms until the end of `day`, less what was returned."""
        return sum(
            term.amount * ((self.local(term.begins) <= day) - (self._return_day(term) <= day)) for term in self.terms
        )

    def earned_by(self, day: date) -> int:
        """What of it was earned, a day after the other."""
        return sum(self._earned(term, day) for term in self.terms)

    def _earned(self, term: Term, day: date) -> int:
        first = self.local(term.begins)
        if day < first or self._return_day(term) <= day:
            return 0
        days = 1 if term.sold is None else max((self.local(term.sold) - first).days, 1)
        if not term.returned and term.ends is not None and self.local(term.ends) <= day:
            return term.amount
        passed = min((day - first).days + 1, days)
        return passed * (term.amount // days) + min(passed, term.amount % days)

    def _return_day(self, term: Term) -> date:
        if not term.returned:
            return date.max
        assert term.stopped is not None
        return self.local(term.stopped)


_s = timedelta(seconds=1)


def _term(row: Row, number: int, due: datetime | None, sold: Row, stopped: datetime | None, *, returned: bool) -> Term:
    ends = min((end for end in (due, stopped) if end is not None), default=None)
    return Term(
        id=number,
        user=row["user_id"],
        chapter=row["chapter_id"],
        level=row["access_level"],
        amount=sold["amount_minor"],
        begins=row["activated_at"],
        ends=ends,
        due=due,
        sold=sold["ends_at"],
        stopped=stopped,
        returned=returned,
    )


def _order(term: Term) -> tuple[datetime, int]:
    return term.begins, term.id


def _last(terms: list[Term]) -> dict[Pair, Term]:
    """Of several terms of one user and chapter the one that began last."""
    return {term.pair: term for term in sorted(terms, key=_order)}


def _earlier(one: datetime | None, other: datetime | None) -> bool:
    return one is not None and (other is None or one < other)
