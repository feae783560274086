"""Every number of a day, counted again in plain Python from the definitions; it shares no code with the SQL.

A school is a dictionary of lists of dictionaries, one list a table. `ledger` has the entries of interest with what
their transaction says: at, kind, amount_minor, subscription_id.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, time, timedelta
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

Row = dict[str, Any]
School = dict[str, list[Row]]

_MONTH = timedelta(days=31)


def numbers(school: School, day: date, zone: ZoneInfo, currency: str) -> dict[str, Any]:
    """The numbers of `day` by id."""
    told = Day(school, day, zone, currency)
    found: dict[str, Any] = {}
    for section in (
        "users",
        "teachers",
        "content",
        "payments",
        "subscriptions",
        "attendance",
        "platform",
        "engagement",
    ):
        for name, value in getattr(told, section)().items():
            if value is not None:
                found[f"{section}.{name}"] = value
    return found


def half_up(ratio: Fraction) -> int:
    return math.floor(ratio + Fraction(1, 2))


def ratio(dividend: int, divisor: int, scale: int = 1) -> int | None:
    return half_up(Fraction(dividend * scale, divisor)) if divisor else None


def count(values: Iterable[Any]) -> dict[str, int]:
    return dict(Counter("~none" if value is None else str(value) for value in values))


def add_up(pairs: Iterable[tuple[Any, int]]) -> dict[str, int]:
    found: Counter[str] = Counter()
    for key, amount in pairs:
        found["~none" if key is None else str(key)] += amount
    return {key: amount for key, amount in found.items() if amount}


class Day:
    """One day of one school."""

    def __init__(self, school: School, day: date, zone: ZoneInfo, currency: str) -> None:
        self.school, self.day, self.zone, self.currency = school, day, zone, currency

    def local(self, instant: datetime) -> date:
        return instant.astimezone(self.zone).date()

    def within(self, instant: datetime | None, day: date | None = None) -> bool:
        return instant is not None and self.local(instant) == (day or self.day)

    def by_end(self, instant: datetime | None) -> bool:
        return instant is not None and self.local(instant) <= self.day

    def rows(self, table: str, column: str, test: Callable[[datetime | None], bool] | None = None) -> list[Row]:
        return [row for row in self.school[table] if (test or self.within)(row[column])]

    # -- who was there

    def active(self, day: date) -> set[int]:
        traces = (("attendances", "checked_in_at"), ("payments", "created_at"), ("subscriptions", "created_at"))
        return {
            row["user_id"] for table, column in traces for row in self.school[table] if self.within(row[column], day)
        }

    def users(self) -> Row:
        known = self.rows("users", "created_at", self.by_end)
        held = sum(
            entry["amount_minor"]
            for entry in self.rows("ledger", "at", self.by_end)
            if entry["account"] == "user_wallet"
        )
        return {
            "total": len(known),
            "new": len(self.rows("users", "created_at")),
            "active": len(self.active(self.day)),
            "by_role": count(user["role"] for user in known),
            "by_year": count(user["year_of_study"] for user in known),
            "balance_total": held,
            "balance_mean": ratio(held, len(known)),
        }

    def teachers(self) -> Row:
        known = self.rows("teachers", "created_at", self.by_end)
        teacher_of = {chapter["id"]: chapter["teacher_id"] for chapter in self.school["chapters"]}
        chapter_of = {each["id"]: each["chapter_id"] for each in self.school["subscriptions"]}
        revenue = [
            (teacher_of.get(chapter_of[entry["subscription_id"]]), entry["amount_minor"])
            for entry in self.rows("ledger", "at")
            if entry["account"] == "subscription_revenue"
        ]
        revenue = [pair for pair in revenue if pair[0] is not None]
        taught = {session["teacher_id"] for session in self.rows("sessions", "starts_at")} - {None}
        return {
            "total": len(known),
            "new": len(self.rows("teachers", "created_at")),
            "active": len(taught),
            "by_specialisation": count(teacher["specialisation"] for teacher in known),
            "revenue": sum(amount for _, amount in revenue),
            "revenue_by_teacher": add_up(revenue),
        }

    def content(self) -> Row:
        chapters = self.rows("chapters", "created_at", self.by_end)
        courses = self.rows("courses", "created_at", self.by_end)
        return {
            "chapters": len(chapters),
            "chapters_new": len(self.rows("chapters", "created_at")),
            "chapters_by_year": count(chapter["year_target"] for chapter in chapters),
            "courses": len(courses),
            "courses_new": len(self.rows("courses", "created_at")),
            "courses_with_video": sum(course["video_ref"] is not None for course in courses),
            "courses_with_pdf": sum(course["pdf_summary"] is not None for course in courses),
            "videos_by_status": count(
                course["transcoding_status"] for course in courses if course["transcoding_status"] is not None
            ),
        }

    # -- money

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

    # -- attendance and platform

    def attendance(self) -> Row:
        check_ins = self.rows("attendances", "checked_in_at")
        chapter_of = {session["id"]: session["chapter_id"] for session in self.school["sessions"]}
        held = {row["session_id"] for row in check_ins}
        return {
            "check_ins": len(check_ins),
            "attendees": len({row["user_id"] for row in check_ins}),
            "sessions_planned": len(self.rows("sessions", "starts_at")),
            "sessions_held": len(held),
            "mean_per_session": ratio(len(check_ins), len(held), 100),
            "by_chapter": count(chapter_of[row["session_id"]] for row in check_ins),
        }

    def platform(self) -> Row:
        received = self.rows("webhook_events", "received_at")
        finished = [row for row in self.rows("webhook_events", "processed_at") if row["state"] != "received"]
        return {
            "webhooks": len(received),
            "webhooks_by_provider": count(event["provider"] for event in received),
            "webhooks_unsigned": sum(not event["signed"] for event in received),
            "jobs_done": sum(event["state"] in ("applied", "ignored") for event in finished),
            "jobs_quarantined": sum(event["state"] == "quarantined" for event in finished),
            "jobs_dead": sum(event["state"] == "dead" for event in finished),
            "jobs_retried": sum(event["attempts"] for event in finished),
        }

    # -- engagement

    def engagement(self) -> Row:
        back = [self.active(self.day - timedelta(days=number)) for number in range(30)]
        monthly = len(set().union(*back))
        found: Row = {
            "daily": len(back[0]),
            "weekly": len(set().union(*back[:7])),
            "monthly": monthly,
            "stickiness": half_up(Fraction(sum(map(len, back)), 30) / monthly * 10_000) if monthly else None,
        }
        for age in (1, 7, 30):
            cohort = {
                user["id"]
                for user in self.school["users"]
                if self.within(user["created_at"], self.day - timedelta(days=age))
            }
            found[f"cohort_{age}"] = len(cohort)
            found[f"retained_{age}"] = len(cohort & back[0])
            found[f"retention_{age}"] = ratio(len(cohort & back[0]), len(cohort), 10_000)
        return found


def _part(term: Row, moment: datetime) -> int:
    """The part of the term's amount for the month that `moment` lies in."""
    if term["ends_at"] is None:
        return int(term["amount_minor"])
    length = term["ends_at"] - term["activated_at"]
    months = max(1, math.ceil(Fraction(length // timedelta(microseconds=1), _MONTH // timedelta(microseconds=1))))
    amount = term["amount_minor"]
    parts = [amount // months + (1 if number < amount % months else 0) for number in range(months)]
    assert sum(parts) == amount
    passed = Fraction((moment - term["activated_at"]) // timedelta(microseconds=1), length // timedelta(microseconds=1))
    return int(parts[math.floor(passed * months)])
