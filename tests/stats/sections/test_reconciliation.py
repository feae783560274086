"""What has to agree, agrees: in every history of top-ups, sales, refunds, disputes, and renewals early and late.

What agrees is sums, so many histories are counted at once: each has students of its own in one school.
"""

import random
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.stats.days import Days
from tests.stats.conformance.test_conformance import LONG_AGO, TABLES
from tests.stats.oracle_day import Row, School
from tests.stats.school import Connection, count, load

ZONE = ZoneInfo("Africa/Algiers")
FIRST = date(2026, 1, 1)
#: Later than everything that happens.
LAST = FIRST + timedelta(days=140)

slowly = settings(deadline=None, suppress_health_check=list(HealthCheck), report_multiple_bugs=False)

KINDS = (
    "top_up", "top_up", "sale", "sale", "renewal", "return", "cut", "edit", "refund", "dispute", "win", "lose",
    "adjust", "stop", "pay_out",
)  # fmt: skip
CHAPTERS, TERM_DAYS = (None, 1, 2), (None, 1, 7, 28, 30, 31, 45, 90)
STUDENTS = 4

_when = st.tuples(st.integers(0, 60), st.integers(0, 23))
_acts = st.lists(
    st.tuples(
        st.sampled_from(KINDS),
        _when,
        st.integers(1, STUDENTS),
        st.sampled_from(CHAPTERS),
        st.integers(1, 5000),
        st.sampled_from(TERM_DAYS),
        st.integers(-6, 12),
    ),
    max_size=30,
)

Acts = list[tuple[Any, ...]]


def random_acts(chance: random.Random) -> Acts:
    """The same without a search for the smallest: a hundred times as fast."""
    return [
        (
            chance.choice(KINDS),
            (chance.randint(0, 60), chance.randint(0, 23)),
            chance.randint(1, STUDENTS),
            chance.choice(CHAPTERS),
            chance.randint(1, 5000),
            chance.choice(TERM_DAYS),
            chance.randint(-6, 12),
        )
        for _ in range(chance.randint(1, 30))
    ]


class Simulation:
    """A school whose ledger is balanced and agrees with its subscriptions, as settlement keeps both."""

    def __init__(self, school: School) -> None:
        self.school = school
        self._before = len(school["users"])
        self.school["users"] += [
            {"id": self._before + n, "created_at": LONG_AGO, "role": "student", "year_of_study": None}
            for n in range(1, STUDENTS + 1)
        ]
        self._sold: list[Row] = []
        self._kept: dict[int, Row] = {}
        self._withheld = 0

    def act(
        self, what: str, at: datetime, user: int, chapter: int | None, amount: int, days: int | None, late: int
    ) -> None:
        """One thing that happens."""
        user += self._before
        running = [one for one in self._sold if one["status"] == "active" and one["activated_at"] < at]
        if what == "top_up":
            self._enter(at, "payment", amount, "psp_clearing", user)
            self._between(at, "payment", "psp_fees", "psp_clearing", amount // 40)
        elif what == "adjust":
            self._enter(at, "adjustment", amount, "adjustments", user)
        elif what == "refund":
            self._enter(at, "refund", -amount, "psp_clearing", user)
        elif what == "pay_out":
            # one of ten comes back
            self._between(at, "payout", "bank", "psp_clearing", amount if amount % 10 else -amount)
        elif what == "dispute":
            self._withheld += amount
            self._enter(at, "dispute_withheld", -amount, "psp_clearing", user)
            self._between(at, "dispute_withheld", "dispute_contested", "dispute_withheld", amount)
        elif what in ("win", "lose") and self._withheld:
            taken, self._withheld = min(amount, self._withheld), max(0, self._withheld - amount)
            kind = "dispute_released" if what == "win" else "dispute_lost"
            if what == "win":
                self._enter(at, kind, taken, "psp_clearing", user)
            self._between(at, kind, "dispute_withheld", "dispute_contested", taken)
        elif what == "sale":
            self._sell(at, user, chapter, amount, days)
        elif what == "renewal" and running:
            last = running[-1]
            begins = (last["ends_at"] or at) + timedelta(days=late)
            if begins > last["activated_at"]:
                self._sell(begins, last["user_id"], last["chapter_id"], amount, days)
        elif running:
            self._change(what, at, running[-1], amount)

    def _change(self, what: str, at: datetime, one: Row, amount: int) -> None:
        if what == "return":
            self._keep(one, stopped_at=at, is_returned=True)
            self._enter(at, "deactivation", one["sold_for"], "subscription_revenue", one["user_id"], one["id"])
            one |= {"status": "pending_payment", "activated_at": None}
        elif what == "cut" and (one["ends_at"] is None or one["ends_at"] > at):
            self._keep(one)
            one["ends_at"] = at
        elif what == "edit":
            self._keep(one)
            one["amount_minor"] = amount
        elif what == "stop" and (one["ends_at"] is None or one["ends_at"] > at):
            self._keep(one, stopped_at=at)
            one["status"] = "expired"

    def _sell(self, at: datetime, user: int, chapter: int | None, amount: int, days: int | None) -> None:
        subscriptions = self.school["subscriptions"]
        one: Row = {
            "id": len(subscriptions) + 1,
            "user_id": user,
            "chapter_id": chapter,
            "access_level": None,
            "amount_minor": amount,
            "status": "active",
            "created_at": LONG_AGO,
            "activated_at": at,
            "ends_at": None if days is None else at + timedelta(days=days),
            "sold_for": amount,
        }
        subscriptions.append(one)
        self._sold.append(one)
        self._enter(at, "activation", -amount, "subscription_revenue", user, one["id"])

    def _keep(self, one: Row, **more: Any) -> None:
        names = ("user_id", "chapter_id", "access_level", "activated_at", "ends_at")
        found = self._kept.get(one["id"])
        if found is None:
            found = {"subscription_id": one["id"], "stopped_at": None, "is_returned": False}
            found |= {name: one[name] for name in names} | {"amount_minor": one["sold_for"]}
            self.school["subscription_terms"].append(found)
            self._kept[one["id"]] = found
        found.update(more)

    def _enter(
        self, at: datetime, kind: str, amount: int, other: str, user: int, subscription: int | None = None
    ) -> None:
        """A wallet gets `amount`, and the other account gives it."""
        self._book(at, kind, "user_wallet", amount, user)
        self._book(at, kind, other, -amount, None, subscription)

    def _between(self, at: datetime, kind: str, giver: str, other: str, amount: int) -> None:
        """One account of the school gives `amount`, and another one gets it."""
        if amount:
            self._book(at, kind, giver, -amount, None)
            self._book(at, kind, other, amount, None)

    def _book(
        self, at: datetime, kind: str, account: str, amount: int, user: int | None, subscription: int | None = None
    ) -> None:
        entry = {"account": account, "kind": kind, "at": at, "amount_minor": amount, "user_id": user}
        self.school["ledger"].append({**entry, "subscription_id": subscription, "payment_id": None})


def simulate(histories: list[Acts]) -> School:
    """What is left of these histories, each in the order of time and with students of its own."""
    school: School = {table: [] for table in TABLES}
    school["chapters"] = [{"id": n, "created_at": LONG_AGO, "teacher_id": None, "year_target": None} for n in (1, 2)]
    for acts in histories:
        made = Simulation(school)
        for what, (day, hour), *more in sorted(acts, key=lambda act: act[1]):
            begins = datetime.combine(FIRST + timedelta(days=1 + day), time(hour), tzinfo=ZONE).astimezone(UTC)
            made.act(what, begins, *more)
    for one in school["subscriptions"]:
        del one["sold_for"]
    return school


def agree(connection: Connection, *histories: Acts) -> None:
    """Every identity of docs/statistics.md, on every day."""
    try:
        load(connection, simulate(list(histories)))
        # an autovacuum between two histories finds empty tables, and no plan for those ends in time here
        connection.cursor().execute("ANALYZE")
        found = list(count(connection, Days(FIRST, LAST, ZONE)).values())
    finally:
        connection.rollback()
    for before, after in pairwise(found):

        def change(name: str, before: dict[str, Any] = before, after: dict[str, Any] = after) -> int:
            return int(after[name] - before[name])

        payments = {name: after[f"payments.{name}"] for name in ("topped_up", "refunded", "charged_back")}
        assert change("wallets.total") == (
            payments["topped_up"]
            + after["wallets.adjusted"]
            - payments["refunded"]
            - payments["charged_back"]
            - change("payments.disputes_open")
            - after["revenue.net"]
        )
        assert change("wallets.total") == change("wallets.credit") - change("wallets.debt")
        assert after["payments.cash_in"] == after["payments.topped_up"] + after["payments.office"]
        assert after["payments.fees"] == sum(after["payments.fees_by_provider"].values())
        assert after["payments.clearing"] == sum(after["payments.clearing_by_provider"].values())
        assert change("payments.clearing") == (
            payments["topped_up"]
            - payments["refunded"]
            - payments["charged_back"]
            - change("payments.disputes_open")
            - after["payments.fees"]
            - after["payments.paid_out"]
        )
        assert after["revenue.net"] == after["revenue.billed"] - after["revenue.returned"]
        assert after["revenue.net"] == after["revenue.earned"] + change("revenue.deferred")
        assert change("revenue.net_to_date") == after["revenue.net"]
        moved = {
            name: after[f"subscriptions.mrr_{name}"]
            for name in ("new", "expansion", "reactivation", "contraction", "churn")
        }
        won = moved["new"] + moved["expansion"] + moved["reactivation"]
        assert change("subscriptions.mrr") == won - moved["contraction"] - moved["churn"]
        assert change("subscriptions.subscribers") == (
            after["subscriptions.subscribers_gained"] - after["subscriptions.subscribers_lost"]
        )
        assert change("subscriptions.active") == after["subscriptions.begun"] - after["subscriptions.ended"]
        assert after["subscriptions.students"] <= after["subscriptions.active"]
        assert after["subscriptions.renewals"] <= after["subscriptions.renewals_due"]
    assert all(numbers["revenue.deferred"] >= 0 for numbers in found)


@slowly
@given(acts=_acts)
def test_ledger_revenue_wallets_and_mrr_agree(connection: Connection, acts: list[tuple[Any, ...]]) -> None:
    agree(connection, acts)


#: Histories that are counted at once, and how often.
AT_ONCE, BATCHES = 40, 75


@pytest.mark.nightly
def test_they_agree_in_many_more_histories(connection: Connection) -> None:
    for seed in range(BATCHES):
        chance = random.Random(seed)
        histories = [random_acts(chance) for _ in range(AT_ONCE)]
        try:
            agree(connection, *histories)
        except AssertionError:
            for acts in histories:
                agree(connection, acts)  # the one that is wrong by itself is easier to read
            raise
