"""The oracle's numbers about payments and subscriptions."""

import math
from collections import Counter
from datetime import UTC, date, datetime, time, timedelta
from fractions import Fraction

from tests.stats.oracle_day import Moment, Row, add_up, count, ratio

_MONTH = timedelta(days=31)


class Money(Moment):
    """What a day's payments and subscriptions bring."""

    def payments(self) -> Row:
        begun = self.rows("payments", "created_at")
        ended = self.rows("payments", "completed_at")
        done = [payment for payment in ended if payment["currency"] == self.currency]
        ever = [
            payment
            for payment in self.rows("payments", "completed_at", self.by_end)
            if payment["currency"] == self.currency
        ]
        gross = sum(payment["amount_minor"] for payment in done)
        net = sum(payment["credited_minor"] for payment in done)
        return {
            "started": len(begun),
            "started_by_status": count(payment["status"] for payment in begun),
            "pending": sum(payment["status"] in ("pending", "authorized") for payment in begun),
            "failed": sum(payment["status"] == "failed" for payment in begun),
            "failure_reasons": count(each["failure_reason"] for each in begun if each["status"] == "failed"),
            "completed": len(done),
            "revenue": gross,
            "refunded": gross - net,
            "refunds": sum(payment["credited_minor"] < payment["amount_minor"] for payment in done),
            "revenue_net": net,
            "fees": sum(payment["fee_minor"] or 0 for payment in done),
            "mean": ratio(gross, len(done)),
            "completed_by_provider": count(payment["provider"] for payment in done),
            "completed_by_method": count(payment["method"] for payment in done),
            "revenue_by_provider": add_up((payment["provider"], payment["amount_minor"]) for payment in done),
            "revenue_by_method": add_up((payment["method"], payment["amount_minor"]) for payment in done),
            "revenue_to_date": sum(payment["amount_minor"] for payment in ever),
            "completed_to_date": len(ever),
            "other_currency": len(ended) - len(done),
            **self._credited(),
        }

    def _credited(self) -> Row:
        waits = sorted(
            (event["processed_at"] - event["received_at"]) // timedelta(milliseconds=1)
            for event in self.rows("webhook_events", "processed_at")
            if event["state"] == "applied" and event["payment_id"] is not None
        )
        if not waits:
            return {"credited": 0}
        half, most = (waits[math.ceil(share * len(waits)) - 1] for share in (Fraction(1, 2), Fraction(95, 100)))
        return {"credited": len(waits), "credit_p50": half, "credit_p95": most, "credit_max": waits[-1]}

    # -- subscriptions

    def subscriptions(self) -> Row:
        every = self.school["subscriptions"]
        terms = [term for term in every if term["status"] != "pending_payment" and term["activated_at"] is not None]
        terms = [term for term in terms if term["ends_at"] is None or term["ends_at"] > term["activated_at"]]
        run = [
            term
            for term in terms
            if self.by_end(term["activated_at"]) and (term["ends_at"] is None or not self.by_end(term["ends_at"]))
        ]
        known = self.rows("subscriptions", "created_at", self.by_end)

        def ends_within(days: int) -> int:
            last = self.day + timedelta(days=days)
            return sum(term["ends_at"] is not None and self.local(term["ends_at"]) <= last for term in run)

        return {
            "total": len(known),
            "new": len(self.rows("subscriptions", "created_at")),
            "activated": sum(self.within(term["activated_at"]) for term in terms),
            "active": len(run),
            "expired": sum(self.within(term["ends_at"]) for term in terms),
            "expiring_7": ends_within(7),
            "expiring_30": ends_within(30),
            "active_by_level": count(term["access_level"] for term in run),
            "popular_chapters": count(term["chapter_id"] for term in run),
            "pending": sum(term["status"] == "pending_payment" for term in known),
            **self._mrr([term for term in terms if term["amount_minor"] > 0]),
        }

    def _mrr(self, terms: list[Row]) -> Row:
        today, yesterday = self._mrr_by_user(terms, self.day), self._mrr_by_user(terms, self.day - timedelta(days=1))
        found = dict.fromkeys(("new", "expansion", "reactivation", "contraction", "churn"), 0)
        lost_users = 0
        for user in {*today, *yesterday}:
            before, after = yesterday.get(user, 0), today.get(user, 0)
            if not before and after:
                earlier = any(self.local(t["activated_at"]) < self.day for t in terms if t["user_id"] == user)
                found["reactivation" if earlier else "new"] += after
            elif before and not after:
                found["churn"] += before
                lost_users += 1
            else:
                found["expansion" if after > before else "contraction"] += abs(after - before)
        churn, base = 0, sum(self._mrr_by_user(terms, self.day - timedelta(days=30)).values())
        for back in range(30):
            day = self.day - timedelta(days=back)
            before_by_user, after_by_user = (
                self._mrr_by_user(terms, day - timedelta(days=1)),
                self._mrr_by_user(terms, day),
            )
            churn += sum(amount for user, amount in before_by_user.items() if user not in after_by_user)
        return {
            "mrr": sum(today.values()),
            **{f"mrr_{name}": amount for name, amount in found.items()},
            "subscribers": len(today),
            "subscribers_lost": lost_users,
            "churn_rate_30": ratio(churn, base, 10_000),
        }

    def _mrr_by_user(self, terms: list[Row], day: date) -> dict[int, int]:
        """What each user brings a month at the last moment of `day`; users who bring nothing are left out."""
        ends = datetime.combine(day + timedelta(days=1), time.min, tzinfo=self.zone).astimezone(UTC)
        moment = ends - timedelta(microseconds=1)
        found: Counter[int] = Counter()
        for term in terms:
            if term["activated_at"] <= moment and (term["ends_at"] is None or moment < term["ends_at"]):
                found[term["user_id"]] += _part(term, moment)
        return {user: amount for user, amount in found.items() if amount}


def _part(term: Row, moment: datetime) -> int:
    """The part of the term's amount for the month that `moment` lies in."""
    if term["ends_at"] is None:
        return int(term["amount_minor"])
    length = term["ends_at"] - term["activated_at"]
    # an hour more is none: clocks are turned back within a month
    counted = (length - timedelta(hours=1)) // timedelta(microseconds=1)
    months = max(1, math.ceil(Fraction(counted, _MONTH // timedelta(microseconds=1))))
    amount = term["amount_minor"]
    parts = [amount // months + (1 if number < amount % months else 0) for number in range(months)]
    assert sum(parts) == amount
    passed = Fraction((moment - term["activated_at"]) // timedelta(microseconds=1), length // timedelta(microseconds=1))
    return int(parts[math.floor(passed * months)])
