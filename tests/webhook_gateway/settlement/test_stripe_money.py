"""Stripe's events as its own library reads them, settled in PostgreSQL: every order ends in the same books."""

import itertools
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from stripe.params import _webhook_endpoint_create_params

from services.webhook_gateway.errors import UnreadableEventError
from services.webhook_gateway.providers import stripe_events
from services.webhook_gateway.providers.base import Request
from services.webhook_gateway.providers.stripe import Stripe
from services.webhook_gateway.settlement.unit_of_work import EventState
from tests.webhook_gateway.settlement.factories import OPENED_AT
from tests.webhook_gateway.settlement.harness import Clock, Desk
from tests.webhook_gateway.settlement.postgres_school import SqlSchool
from tests.webhook_gateway.settlement.stripe_bodies import (
    INVOICE,
    INVOICE_PAYMENT,
    NAMED,
    SESSION,
    TURNS,
    Body,
    charge,
    dispute,
    event,
    intent,
    refund,
)

PAID = charge("succeeded", 1)


@dataclass
class Books:
    """A student of a school in PostgreSQL, and Stripe's events about what that student pays."""

    school: SqlSchool
    turn: int = field(default_factory=lambda: next(TURNS))

    def __post_init__(self) -> None:
        self.clock = Clock()
        self.user_id = self.school.add_user()
        desk = Desk(self.school, clock=self.clock)
        self.settlement = desk.settlement
        self.settlement = type(desk.settlement)(
            read=self.school.read,
            books=self.school.books,
            providers={"stripe": Stripe(["whsec_x"])},
            asks={},
            terms=desk.settlement.terms,
        )

    def subscribe(self, *prices: int) -> list[int]:
        created_at = OPENED_AT - timedelta(days=1)
        return [
            self.school.add_subscription(self.user_id, price, created_at=created_at + timedelta(minutes=turn))
            for turn, price in enumerate(prices)
        ]

    def tell(self, bodies: Sequence[Body]) -> None:
        """Settle them in this order, and what waits until all is said."""
        ids = []
        for body in bodies:
            text = json.dumps(body).replace("USER", str(self.user_id))
            # every run has payments, refunds and customers of its own
            for name in ("pi_", "ch_", "re_", "dp_", "cus_", "sub_", "in_", "txn_", "evt_"):
                text = text.replace(f'"{name}', f'"{name}{self.turn}_')
            reference = Stripe(["x"]).parse(Request("POST", {}, text.encode())).reference
            ids.append(self.school.add_event("stripe", reference, text.encode(), self.clock()))
        for _ in range(len(ids) + 1):
            for number in ids:
                self.settlement.settle(number)
        self.states = [self.school.event(number).state for number in ids]

    @property
    def balance(self) -> int:
        return self.school.balance(self.user_id)

    @property
    def rows(self) -> list[tuple[str, int, int]]:
        mine = [one for one in self.school.payments() if one.user_id == self.user_id]
        return sorted((str(one.status), one.amount_minor, one.credited_minor) for one in mine)

    def statuses(self, subscriptions: Sequence[int]) -> list[str]:
        return [self.school.subscription(number).status for number in subscriptions]

    def sums(self, before: Counter[str] | None = None) -> Counter[str]:
        found: Counter[str] = Counter()
        for line in self.school.lines():
            found[line.account.kind] += line.amount_minor
        for kind, amount in (before or {}).items():
            found[kind] -= amount
        return Counter({kind: amount for kind, amount in found.items() if amount})


def orders(*bodies: Body) -> list[list[Body]]:
    return [list(order) for order in itertools.permutations(bodies)]


def check(school: SqlSchool, bodies: Sequence[Body], row: tuple[str, int, int], **sums: int) -> None:
    """Every order of `bodies`, with one of them twice, ends in this row and moves these sums."""
    for order in orders(*bodies):
        before = Books(school).sums()
        books = Books(school)
        books.tell([*order, {**order[0], "id": f"evt_{next(TURNS)}"}])
        assert books.rows == [row], [one["type"] for one in order]
        assert books.balance == row[2]
        expected = {"user_wallet": row[2], "psp_clearing": -row[2], **sums}
        assert books.sums(before) == {kind: amount for kind, amount in expected.items() if amount}
        assert EventState.QUARANTINED not in books.states


@pytest.mark.parametrize(("amount", "captured"), [(20675, 20300), (9000, 4000)])
@pytest.mark.parametrize("with_intent", [False, True])
@pytest.mark.parametrize("counts_the_rest", [False, True])
def test_the_rest_of_a_hold_that_was_not_captured_is_no_refund(
    sql_school: SqlSchool, amount: int, captured: int, with_intent: bool, counts_the_rest: bool
) -> None:
    rest = amount - captured if counts_the_rest else 0
    told = [charge("captured", 5, amount, amount_captured=captured, amount_refunded=rest)]
    if with_intent:
        told.append(intent(amount=amount, amount_received=captured, metadata={"user_id": "USER"}))
    check(sql_school, told, ("completed", captured, captured))


def test_a_refund_after_a_capture_of_less_takes_what_was_refunded(sql_school: SqlSchool) -> None:
    known = {"amount_captured": 20300}
    told = [
        charge("captured", 5, 20675, amount_refunded=375, **known),
        charge("refunded", 9, 20675, amount_refunded=1375, **known),
    ]
    check(sql_school, told, ("partially_refunded", 20300, 19300))


GONE = charge("refunded", 20, amount_refunded=10000)
BACK = {
    "refund.failed": refund("refund.failed", 30, "failed"),
    "refund.updated": refund("refund.updated", 30, "failed"),
    "charge.refund.updated": refund("charge.refund.updated", 30, "failed"),
    "charge.updated": charge("updated", 30),
}


@pytest.mark.parametrize("told", [*([name] for name in BACK), ["refund.failed", "charge.updated"]], ids=str)
def test_a_refund_that_failed_gives_the_money_and_the_subscription_back(sql_school: SqlSchool, told: list[str]) -> None:
    for order in orders(PAID, GONE, *(BACK[name] for name in told)):
        books = Books(sql_school)
        subscriptions = books.subscribe(10000)
        books.tell(order)
        assert books.rows == [("completed", 10000, 10000)], [one["type"] for one in order]
        assert (books.statuses(subscriptions), books.balance) == (["active"], 0)


def test_the_ledger_says_that_a_refund_was_reversed(sql_school: SqlSchool) -> None:
    books = Books(sql_school)
    books.tell([PAID, refund("refund.created", 20, "pending"), BACK["refund.failed"]])
    kinds = [line.kind for line in sql_school.lines() if line.amount_minor and line.account.user_id == books.user_id]
    assert kinds == ["payment", "refund", "refund_reversed"]
    assert books.balance == 10000


def test_two_refunds_of_which_one_failed(sql_school: SqlSchool) -> None:
    told = [
        PAID,
        refund("refund.created", 11, "succeeded", 4000, "re_1"),
        refund("refund.created", 12, "succeeded", 5000, "re_2"),
        refund("refund.failed", 40, "failed", 4000, "re_1"),
    ]
    check(sql_school, told, ("partially_refunded", 10000, 5000))


OPENED = dispute("created", 20, "needs_response", 2000, fee=150)


def test_a_dispute_of_a_part_leaves_the_rest_and_its_subscription(sql_school: SqlSchool) -> None:
    lost = dispute("closed", 30, "lost", 2000, fee=150)
    withdrawn = dispute("funds_withdrawn", 21, "needs_response", 2000, fee=150)
    for order in orders(PAID, OPENED, withdrawn, lost):
        books = Books(sql_school)
        (subscription,) = books.subscribe(6000)
        before = books.sums()
        books.tell(order)
        assert books.rows == [("charged_back", 10000, 8000)]
        assert (books.statuses([subscription]), books.balance) == (["active"], 2000)
        assert books.sums(before) == {
            "user_wallet": 2000,
            "subscription_revenue": 6000,
            "psp_clearing": -8000 + 150,
            "dispute_fees": -150,
        }


def test_what_is_withheld_is_seen_while_the_dispute_is_open(sql_school: SqlSchool) -> None:
    told = [PAID, OPENED]
    withheld = {"dispute_withheld": 2000, "dispute_contested": -2000, "dispute_fees": -150, "psp_clearing": -7850}
    check(sql_school, told, ("disputed", 10000, 8000), **withheld)


def test_an_inquiry_takes_nothing(sql_school: SqlSchool) -> None:
    check(sql_school, [PAID, dispute("created", 20, "warning_needs_response", 2000)], ("completed", 10000, 10000))


def test_a_second_dispute_withholds_its_own_amount(sql_school: SqlSchool) -> None:
    told = [
        PAID,
        dispute("created", 20, "needs_response", 2000),
        dispute("closed", 30, "won", 2000),
        dispute("created", 40, "needs_response", 3000, "dp_2"),
    ]
    withheld = {"dispute_withheld": 3000, "dispute_contested": -3000}
    check(sql_school, told, ("disputed", 10000, 7000), **withheld)


def test_a_dispute_of_what_was_refunded_before_is_the_schools_loss(sql_school: SqlSchool) -> None:
    told = [PAID, charge("refunded", 10, amount_refunded=10000), dispute("closed", 30, "lost", 10000)]
    check(sql_school, told, ("charged_back", 10000, 0), psp_clearing=10000, dispute_losses=-10000)


def test_an_attempt_registers_nothing(sql_school: SqlSchool) -> None:
    order = {"user_id": "USER", "order_id": "USER-X"}
    failed = charge(
        "failed", 1, id="ch_9", payment_intent=None, status="failed", captured=False, amount_captured=0, metadata=order
    )
    paid = charge("succeeded", 2, 8000, id="ch_8", payment_intent=None, metadata=order)
    for told in orders(failed, paid):
        books = Books(sql_school)
        books.tell(told)
        assert books.rows == [("completed", 8000, 8000), ("failed", 10000, 0)]


@pytest.mark.parametrize(
    "told",
    [
        [event("invoice.paid", 3, {**INVOICE, **NAMED, "payment_intent": "pi_1"})],
        [event("invoice.paid", 3, {**INVOICE, **NAMED}), INVOICE_PAYMENT, intent(customer="cus_1")],
        [SESSION, event("invoice.paid", 3, INVOICE), INVOICE_PAYMENT],
        [SESSION, intent(customer="cus_1")],
        [SESSION, event("invoice.payment_succeeded", 3, {**INVOICE, "payment_intent": {"id": "pi_1", "object": "x"}})],
    ],
    ids=["named by the invoice", "newer form", "named by the checkout", "renewal", "expanded"],
)
def test_an_invoice_is_booked_for_the_user_that_it_or_an_earlier_checkout_names(
    sql_school: SqlSchool, told: list[Body]
) -> None:
    check(sql_school, told, ("completed", 10000, 10000))


def test_a_customer_of_two_users_pays_for_neither_unnamed(sql_school: SqlSchool) -> None:
    books, other = Books(sql_school), Books(sql_school)
    books.tell([SESSION])
    other.turn = books.turn
    other.tell([json.loads(json.dumps(SESSION).replace("evt_", "evt_b"))])
    books.tell([intent(customer="cus_1")])
    assert books.states == [EventState.QUARANTINED]
    assert (books.balance, other.balance) == (0, 0)


def test_the_fee_of_a_charge_is_booked_once_where_the_event_holds_it(sql_school: SqlSchool) -> None:
    moved = {"object": "balance_transaction", "id": "txn_1", "fee": 320, "net": 9680, "currency": "dzd"}
    told = [PAID, charge("updated", 2, balance_transaction=moved), intent(latest_charge="ch_1", customer="cus_1")]
    check(sql_school, told, ("completed", 10000, 10000), psp_clearing=-9680, psp_fees=-320)


def test_expanded_objects_are_read(sql_school: SqlSchool) -> None:
    expanded = {"id": "pi_1", "object": "payment_intent", "metadata": {"user_id": "USER"}}
    told = [
        charge("succeeded", 1, payment_intent=expanded, metadata={}, customer={"id": "cus_1", "object": "customer"})
    ]
    check(sql_school, told, ("completed", 10000, 10000))


def test_an_order_paid_twice_is_booked_and_told(sql_school: SqlSchool) -> None:
    books = Books(sql_school)
    order = {"user_id": "USER", "order_id": "USER-twice"}
    books.tell([intent(metadata=order), intent(name="pi_2", at=5, metadata=order)])
    assert books.balance == 20000
    reasons = [row.reason or "" for row in sql_school.events()]
    assert sum("surplus" in reason for reason in reasons) == 1


def all_of_stripes_kinds() -> list[str]:
    """The kinds of events that Stripe's own library lists."""
    hints = _webhook_endpoint_create_params.WebhookEndpointCreateParams.__annotations__["enabled_events"]
    text = hints.__forward_arg__ if hasattr(hints, "__forward_arg__") else str(hints)
    return sorted(set(re.findall(r"[\"']([a-z_0-9]+(?:\.[a-z_0-9]+)+)[\"']", text)))


def test_every_kind_of_stripes_list_that_concerns_money_is_read_explained_or_put_aside() -> None:
    kinds = all_of_stripes_kinds()
    assert len(kinds) > 100
    money = [kind for kind in kinds if kind.startswith(stripe_events.MONEY)]
    put_aside = []
    for kind in money:
        if kind in stripe_events.READERS:
            continue
        body = json.dumps({"id": "evt_1", "type": kind, "data": {"object": {}}}).encode()
        if kind in stripe_events.NO_MONEY:
            notice = Stripe(["x"]).parse(Request("POST", {}, body))
            assert notice.reference is None
            assert notice.failure_reason
            continue
        with pytest.raises(UnreadableEventError, match="concerns money"):
            Stripe(["x"]).parse(Request("POST", {}, body))
        put_aside.append(kind)
    families = {kind.split(".")[0] for kind in put_aside}
    assert families <= {"application_fee", "credit_note", "customer_cash_balance_transaction", "invoice", "topup",
                        "transfer", "invoice_payment"}  # fmt: skip
    assert not [kind for kind in put_aside if kind.startswith(("charge.", "refund.", "payout.", "checkout."))]
    unknown = sorted((set(stripe_events.READERS) | set(stripe_events.NO_MONEY)) - set(kinds))
    assert unknown == [], "kinds that Stripe does not have"
