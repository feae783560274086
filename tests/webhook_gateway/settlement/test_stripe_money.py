"""Stripe's events as its own library reads them, settled in PostgreSQL: every order ends in the same books."""

import json
import re

import pytest

from services.webhook_gateway.errors import UnreadableEventError
from services.webhook_gateway.providers import stripe_events
from shared.contracts.webhooks import EventState
from tests.variations import variations
from tests.webhook_gateway.settlement.factories import School
from tests.webhook_gateway.settlement.postgres_school import SqlSchool
from tests.webhook_gateway.settlement.stripe_bodies import (
    BEGAN,
    INVOICE,
    INVOICE_PAYMENT,
    NAMED,
    SESSION,
    Body,
    charge,
    dispute,
    event,
    intent,
    movement,
    refund,
    refund_failed,
    refunded,
    session,
    several_captures,
)
from tests.webhook_gateway.settlement.stripe_books import PAID, Books, check, orders, parse


@pytest.mark.parametrize(("amount", "captured"), [(20675, 20300), (9000, 4000)])
@pytest.mark.parametrize("with_intent", [False, True])
@pytest.mark.parametrize("counts_the_rest", [False, True])
def test_the_rest_of_a_hold_that_was_not_captured_is_no_refund(
    sql_school: SqlSchool, amount: int, captured: int, with_intent: bool, counts_the_rest: bool
) -> None:
    rest = amount - captured if counts_the_rest else 0
    reported = [charge("captured", 5, amount, amount_captured=captured, amount_refunded=rest)]
    if with_intent:
        reported.append(intent(amount=amount, amount_received=captured, metadata={"user_id": "USER"}))
    check(sql_school, reported, ("completed", captured, captured))


def test_a_refund_after_a_capture_of_less_takes_what_was_refunded(sql_school: SqlSchool) -> None:
    known: Body = {"amount_captured": 20300}
    reported = [
        charge("captured", 5, 20675, amount_refunded=375, **known),
        charge("refunded", 9, 20675, amount_refunded=1375, **known),
    ]
    check(sql_school, reported, ("partially_refunded", 20300, 19300))


def release(amount: int, name: str = "re_1") -> Body:
    """The refund that Stripe makes of the rest of a hold: it succeeds, and no balance moves."""
    body = refunded(5, amount, name)
    body["data"]["object"]["balance_transaction"] = None
    return body


@pytest.mark.parametrize(("amount", "captured"), [(20675, 20300), (9000, 4000)])
def test_a_refund_object_of_the_rest_of_a_hold_is_no_refund(school: School, amount: int, captured: int) -> None:
    rest = amount - captured
    reported = [charge("captured", 5, amount, amount_captured=captured, amount_refunded=rest), release(rest)]
    check(school, reported, ("completed", captured, captured))


def test_a_charge_refunded_by_its_capture_gives_nothing_back(school: School) -> None:
    known: Body = {"amount_captured": 20300, "amount_refunded": 375}
    reported = charge("refunded", 5, 20675, **known)
    reported["data"]["previous_attributes"] = {"captured": False, "amount_captured": 0, "amount_refunded": 0}
    check(school, [reported], ("completed", 20300, 20300))


def test_a_refund_of_as_much_as_the_rest_counts_beside_it(school: School) -> None:
    rest, real = release(375), refunded(12, 375, "re_2")
    real["data"]["object"]["balance_transaction"] = "txn_2"
    listed = {"data": [rest["data"]["object"], real["data"]["object"]]}
    reported = [charge("refunded", 12, 20675, amount_captured=20300, amount_refunded=750, refunds=listed), rest, real]
    check(school, reported, ("partially_refunded", 20300, 19925))


GONE = charge("refunded", 20, amount_refunded=10000)
BACK = {
    "refund.failed": refund_failed(30),
    "refund.updated": refund("refund.updated", 30, "failed"),
    "charge.refund.updated": refund("charge.refund.updated", 30, "failed"),
    "charge.updated": charge("updated", 30),
}


@pytest.mark.parametrize("reported", [*([name] for name in BACK), ["refund.failed", "charge.updated"]], ids=str)
def test_a_refund_that_failed_gives_the_money_and_the_subscription_back(
    sql_school: SqlSchool, reported: list[str]
) -> None:
    for order in orders(PAID, GONE, *(BACK[name] for name in reported)):
        books = Books(sql_school)
        subscriptions = books.subscribe(10000)
        books.settle(order)
        assert books.rows == [("completed", 10000, 10000)], [one["type"] for one in order]
        assert (books.statuses(subscriptions), books.balance) == (["active"], 0)


def test_the_ledger_says_that_a_refund_was_reversed(sql_school: SqlSchool) -> None:
    books = Books(sql_school)
    books.settle([PAID, refund("refund.created", 20, "pending"), BACK["refund.failed"]])
    kinds = [line.kind for line in sql_school.lines() if line.amount_minor and line.account.user_id == books.user_id]
    assert kinds == ["payment", "refund", "refund_reversed"]
    assert books.balance == 10000


def test_two_refunds_of_which_one_failed(sql_school: SqlSchool) -> None:
    reported = [
        PAID,
        refunded(11, 4000, "re_1"),
        refunded(12, 5000, "re_2"),
        refund_failed(40, 4000, "re_1"),
    ]
    check(sql_school, reported, ("partially_refunded", 10000, 5000))


OPENED = dispute("created", 20, "needs_response", 2000, fee=150)


def test_a_dispute_of_a_part_leaves_the_rest_and_its_subscription(sql_school: SqlSchool) -> None:
    lost = dispute("closed", 30, "lost", 2000, fee=150)
    withdrawn = dispute("funds_withdrawn", 21, "needs_response", 2000, fee=150)
    for order in orders(PAID, OPENED, withdrawn, lost):
        books = Books(sql_school)
        (subscription,) = books.subscribe(6000)
        before = books.sums()
        books.settle(order)
        assert books.rows == [("charged_back", 10000, 8000)]
        assert (books.statuses([subscription]), books.balance) == (["active"], 2000)
        assert books.sums(before) == {
            "user_wallet": 2000,
            "subscription_revenue": 6000,
            "psp_clearing": -8000 + 150,
            "dispute_fees": -150,
        }


def test_what_is_withheld_is_seen_while_the_dispute_is_open(sql_school: SqlSchool) -> None:
    reported = [PAID, OPENED]
    withheld = {"dispute_withheld": 2000, "dispute_contested": -2000, "dispute_fees": -150, "psp_clearing": -7850}
    check(sql_school, reported, ("disputed", 10000, 8000), **withheld)


def test_an_inquiry_takes_nothing(sql_school: SqlSchool) -> None:
    check(sql_school, [PAID, dispute("created", 20, "warning_needs_response", 2000)], ("completed", 10000, 10000))


def test_a_second_dispute_withholds_its_own_amount(sql_school: SqlSchool) -> None:
    reported = [
        PAID,
        dispute("created", 20, "needs_response", 2000),
        dispute("closed", 30, "won", 2000),
        dispute("created", 40, "needs_response", 3000, "dp_2"),
    ]
    withheld = {"dispute_withheld": 3000, "dispute_contested": -3000}
    check(sql_school, reported, ("disputed", 10000, 7000), **withheld)


def test_a_dispute_of_what_was_refunded_before_is_the_schools_loss(sql_school: SqlSchool) -> None:
    reported = [PAID, charge("refunded", 10, amount_refunded=10000), dispute("closed", 30, "lost", 10000)]
    check(sql_school, reported, ("charged_back", 10000, 0), psp_clearing=10000, dispute_losses=-10000)


def test_an_attempt_registers_nothing(sql_school: SqlSchool) -> None:
    order = {"user_id": "USER", "order_id": "USER-X"}
    failed = charge(
        "failed", 1, id="ch_9", payment_intent=None, status="failed", captured=False, amount_captured=0, metadata=order
    )
    paid = charge("succeeded", 2, 8000, id="ch_8", payment_intent=None, metadata=order)
    for reported in orders(failed, paid):
        books = Books(sql_school)
        books.settle(reported)
        assert books.rows == [("completed", 8000, 8000), ("failed", 10000, 0)]


@pytest.mark.parametrize(
    "reported",
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
    sql_school: SqlSchool, reported: list[Body]
) -> None:
    check(sql_school, reported, ("completed", 10000, 10000))


def test_a_customer_of_two_users_pays_for_neither_unnamed(sql_school: SqlSchool) -> None:
    books, other = Books(sql_school), Books(sql_school)
    books.settle([SESSION])
    other.turn = books.turn
    other.settle([json.loads(json.dumps(SESSION).replace("evt_", "evt_b"))])
    books.settle([intent(customer="cus_1")])
    assert books.states == [EventState.QUARANTINED]
    assert (books.balance, other.balance) == (0, 0)


def test_the_fee_of_a_charge_is_booked_once_where_the_event_holds_it(sql_school: SqlSchool) -> None:
    moved = {"object": "balance_transaction", "id": "txn_1", "fee": 320, "net": 9680, "currency": "dzd"}
    reported = [PAID, charge("updated", 2, balance_transaction=moved), intent(latest_charge="ch_1", customer="cus_1")]
    check(sql_school, reported, ("completed", 10000, 10000), psp_clearing=-9680, psp_fees=-320)


def test_expanded_objects_are_read(sql_school: SqlSchool) -> None:
    expanded = {"id": "pi_1", "object": "payment_intent", "metadata": {"user_id": "USER"}}
    reported = [
        charge("succeeded", 1, payment_intent=expanded, metadata={}, customer={"id": "cus_1", "object": "customer"})
    ]
    check(sql_school, reported, ("completed", 10000, 10000))


def test_an_order_paid_twice_is_booked_and_shown(sql_school: SqlSchool) -> None:
    books = Books(sql_school)
    order = {"user_id": "USER", "order_id": "USER-twice"}
    books.settle([intent(metadata=order), intent(name="pi_2", at=5, metadata=order)])
    assert books.balance == 20000
    reasons = [row.reason or "" for row in sql_school.events()]
    assert sum("surplus" in reason for reason in reasons) == 1


def test_a_fee_is_no_flag(sql_school: SqlSchool) -> None:
    with pytest.raises(UnreadableEventError, match="fee must be an integer"):
        Books(sql_school).settle([charge("succeeded", 1, balance_transaction=movement(True))])


@pytest.mark.parametrize(
    "reported",
    [
        charge("succeeded", 1, balance_transaction=movement(28, "eur")),
        dispute("closed", 30, "lost", 2000, fee=15, fee_currency="eur"),
        refunded(11, 2000, fee=3, fee_currency="eur"),
    ],
    ids=["charge", "dispute", "refund"],
)
def test_a_fee_in_another_currency_is_left_out_and_the_reason_says_so(school: School, reported: Body) -> None:
    for order in orders(PAID, reported):
        before = Books(school).sums()
        books = Books(school)
        known = {row.id for row in school.events()}
        books.settle(order)
        assert set(books.states) <= {EventState.APPLIED, EventState.IGNORED}
        balance = 10000 - (0 if reported["type"].startswith("charge.s") else 2000)
        # no fee moves
        assert (books.balance, books.sums(before)) == (balance, {"user_wallet": balance, "psp_clearing": -balance})
        reasons = [row.reason or "" for row in school.events() if row.id not in known]
        left_out = r"; not booked: the fee is (28|15|3) EUR, and the payment in DZD \(minor units\)$"
        assert sum(re.search(left_out, reason) is not None for reason in reasons) == 1


@pytest.mark.parametrize(
    ("currency", "amount", "booked"),
    [("jpy", 500, 500), ("tnd", 5120, 5120), ("isk", 500, 5), ("ugx", 500, 5), ("mga", 5, 500), ("clp", 5, 5)],
)
def test_amounts_are_in_the_currencys_minor_unit_however_stripe_counts_them(
    currency: str, amount: int, booked: int
) -> None:
    body = charge("succeeded", 1, amount, currency=currency, balance_transaction=movement(amount // 5, currency))
    notice = parse(body)
    assert (notice.amount_minor, notice.authorized_minor) == (booked, booked)
    assert [fee.amount_minor for fee in notice.fees] == [booked // 5]
    assert stripe_events.stripes_units(booked, currency) == amount


def test_a_part_of_a_unit_that_the_currency_does_not_have_is_unreadable() -> None:
    with pytest.raises(UnreadableEventError, match="multiple of 100: ISK"):
        parse(charge("succeeded", 1, 501, currency="isk"))


@pytest.mark.parametrize("amount", ["10000", 10000.0, -10000, 10**30, True, None, [10000]], ids=str)
@pytest.mark.parametrize("name", ["amount", "amount_captured", "amount_refunded"])
def test_an_amount_that_is_no_amount_is_unreadable(name: str, amount: object) -> None:
    if amount is None and name != "amount":
        return  # not reported
    known: dict[str, object] = {"amount": 10000, name: amount}
    with pytest.raises(UnreadableEventError, match=name):
        parse({**PAID, "data": {"object": {**PAID["data"]["object"], **known}}})


@pytest.mark.parametrize("digits", ["1e4", "1E4", "9" * 5000, "NaN", "Infinity", "-0"])
def test_a_number_that_is_no_integer_of_json_is_unreadable(digits: str) -> None:
    text = json.dumps({**PAID, "data": {"object": {**PAID["data"]["object"], "amount": "AMOUNT"}}})
    body = text.replace('"AMOUNT"', digits)
    if digits == "-0":
        assert parse(body).authorized_minor == 0
        return
    with pytest.raises(UnreadableEventError):
        parse(body)


def settled(kind: str, at: int, *moved: int) -> Body:
    """A dispute of 2000 that ended before the bank charged it back, and the movements of the balance for it."""
    body = dispute(kind, at, "prevented", 2000)
    body["data"]["object"]["balance_transactions"] = [
        {**movement(0, name=f"txn_{turn}"), "amount": amount} for turn, amount in enumerate(moved)
    ]
    return body


#: A hold of 9000, of which 4000 is captured and the rest released.
IN_PART = charge("captured", 5, 9000, amount_captured=4000, amount_refunded=5000)
SECOND = refunded(40, 6000, "re_2")
HARD: dict[str, tuple[list[Body], tuple[str, int, int], dict[str, int]]] = {
    "several captures": (
        [
            charge("captured", 5, 9000, amount_captured=3000),
            charge("updated", 9, 9000, amount_captured=7000),
            intent(at=10, amount=9000, amount_received=7000),
        ],
        ("completed", 7000, 7000),
        {},
    ),
    "several captures within a second": (
        [charge("captured", 5, 9000, amount_captured=3000), charge("captured", 5, 9000, amount_captured=7000)],
        ("completed", 7000, 7000),
        {},
    ),
    "a refund that failed, and another one": (
        [PAID, refunded(11, 4000), refund_failed(30, 4000), SECOND],
        ("partially_refunded", 10000, 4000),
        {},
    ),
    "refunds above the payment, until one of them failed": (
        [PAID, refunded(11, 6000), refund_failed(30, 6000), SECOND],
        ("partially_refunded", 10000, 4000),
        {},
    ),
    "two refunds of which only totals are known: one failed some seconds later than its figure fell": (
        [
            PAID,
            charge("refunded", 14, previous={"amount_refunded": 5000}, amount_refunded=8000),
            refund_failed(31, 3000),
            charge("updated", 30, previous={"amount_refunded": 8000}, amount_refunded=5000),
        ],
        ("partially_refunded", 10000, 5000),
        {},
    ),
    "two refunds of which only totals are known: one failed in the second in which its figure fell": (
        [
            PAID,
            charge("refunded", 30, previous={"amount_refunded": 5000}, amount_refunded=8000),
            refund_failed(30, 3000),
            charge("updated", 30, previous={"amount_refunded": 8000}, amount_refunded=5000),
        ],
        ("partially_refunded", 10000, 5000),
        {},
    ),
    "two refunds of which only totals are known: both failed": (
        [
            PAID,
            charge("updated", 30, previous={"amount_refunded": 8000}, amount_refunded=5000),
            refund_failed(32, 3000),
            charge("updated", 40, previous={"amount_refunded": 5000}, amount_refunded=0),
            refund_failed(43, 5000, "re_2"),
        ],
        ("completed", 10000, 10000),
        {},
    ),
    "several captures, and refunds of more than the rest": (
        [
            several_captures("captured", 5, 0, before={"amount_captured": 3000}),
            several_captures("refunded", 20, 2500, before={"amount_refunded": 0}),
            several_captures("refunded", 21, 3500, before={"amount_refunded": 2500}),
            refunded(20, 2500),
            refunded(21, 1000, "re_2"),
        ],
        ("partially_refunded", 7000, 3500),
        {},
    ),
    "several captures, and a refund of as much as the rest": (
        [
            several_captures("captured", 5, 0, before={"amount_captured": 3000}),
            several_captures("refunded", 20, 2000, before={"amount_refunded": 0}),
        ],
        ("partially_refunded", 7000, 5000),
        {},
    ),
    "several captures, the last of which released the rest, and a refund": (
        [
            several_captures("captured", 5, 2000, before={"amount_captured": 3000, "amount_refunded": 0}),
            refunded(21, 1000),
            several_captures("refunded", 21, 3000, before={"amount_refunded": 2000}),
        ],
        ("partially_refunded", 7000, 6000),
        {},
    ),
    "a dispute that became smaller": (
        [
            PAID,
            dispute("created", 20, "needs_response", 3000),
            dispute("updated", 25, "under_review", 2000),
            dispute("closed", 40, "lost", 2000),
        ],
        ("charged_back", 10000, 8000),
        {},
    ),
    "an invoice that is paid by less than its intent, and a later event of the invoice": (
        [
            IN_PART,
            {**INVOICE_PAYMENT, "created": BEGAN + 50},
            event("invoice.paid", 60, {**INVOICE, **NAMED, "amount_paid": 9000, "payment_intent": "pi_1"}),
        ],
        ("completed", 4000, 4000),
        {},
    ),
    "a checkout session that completes after its payment was captured in part": (
        [
            IN_PART,
            session("completed", 70, amount_total=9000, client_reference_id="USER"),
        ],
        ("completed", 4000, 4000),
        {},
    ),
    "a refund that was canceled": (
        [
            PAID,
            refund("refund.created", 11, "requires_action", 4000),
            refund("refund.updated", 12, "canceled", 4000),
        ],
        ("completed", 10000, 10000),
        {},
    ),
    "a dispute that was won after a partial refund": (
        [PAID, refunded(11, 4000), OPENED, dispute("closed", 40, "won", 2000, fee=150)],
        ("partially_refunded", 10000, 6000),
        {"psp_clearing": -5850, "dispute_fees": -150},
    ),
    "an inquiry that became a dispute": (
        [PAID, dispute("created", 20, "warning_needs_response", 3000), dispute("updated", 30, "needs_response", 3000)],
        ("disputed", 10000, 7000),
        {"dispute_withheld": 3000, "dispute_contested": -3000},
    ),
    "an inquiry that was closed": (
        [PAID, dispute("created", 20, "warning_needs_response", 3000), dispute("closed", 30, "warning_closed", 3000)],
        ("completed", 10000, 10000),
        {},
    ),
    "a dispute that Visa settled with the school's money": (
        [PAID, settled("created", 20, -2000), settled("funds_withdrawn", 21, -2000), settled("closed", 30, -2000)],
        ("charged_back", 10000, 8000),
        {},
    ),
    "a dispute that a refund prevented": (
        [PAID, settled("created", 20), refunded(20, 2000), settled("closed", 30)],
        ("partially_refunded", 10000, 8000),
        {},
    ),
    "a dispute that was opened, and prevented with its money given back": (
        [PAID, dispute("created", 20, "needs_response", 2000), settled("closed", 30, -2000, 2000)],
        ("completed", 10000, 10000),
        {},
    ),
    "an invoice that two payments paid and that names the last one of them": (
        [
            event("invoice.paid", 60, {**INVOICE, **NAMED, "amount_paid": 16000, "payment_intent": "pi_1"}),
            INVOICE_PAYMENT,
        ],
        ("completed", 10000, 10000),
        {},
    ),
    "a dispute above what is left": (
        [PAID, refunded(11, 8000), dispute("created", 20, "needs_response", 5000)],
        ("disputed", 10000, 0),
        {"dispute_withheld": 2000, "dispute_contested": -5000, "psp_clearing": 3000},
    ),
    "a refund and a dispute of the same money, won": (
        [
            PAID,
            refunded(11),
            dispute("created", 20, "needs_response", 10000),
            dispute("closed", 30, "won", 10000),
        ],
        ("refunded", 10000, 0),
        {},
    ),
    "a dispute that was won and then lost": (
        [PAID, dispute("closed", 20, "won", 3000), dispute("closed", 30, "lost", 3000)],
        ("charged_back", 10000, 7000),
        {},
    ),
    "a dispute's fee that is given back": (
        [
            PAID,
            dispute("created", 20, "needs_response", 2000, fee=150),
            dispute("closed", 30, "won", 2000, fee=150, fee_back=150),
        ],
        ("completed", 10000, 10000),
        {},
    ),
    "an attempt that failed before the intent was paid": (
        [
            charge("failed", 1, id="ch_0", status="failed", captured=False, amount_captured=0),
            charge("succeeded", 5),
        ],
        ("completed", 10000, 10000),
        {},
    ),
    "the charge within its intent": (
        [
            intent(
                latest_charge={
                    **PAID["data"]["object"],
                    "amount": 9000,
                    "amount_captured": 4000,
                    "amount_refunded": 5000,
                    "balance_transaction": movement(320),
                },
                metadata={"user_id": "USER"},
                amount=9000,
                amount_received=4000,
            ),
            charge("refunded", 20, 9000, amount_captured=4000, amount_refunded=6000),
        ],
        ("partially_refunded", 4000, 3000),
        {"psp_clearing": -2680, "psp_fees": -320},
    ),
    "events without a time": (
        [
            {**PAID, "created": None},
            {**charge("refunded", 3, amount_refunded=4000), "created": 10**30},
        ],
        ("partially_refunded", 10000, 6000),
        {},
    ),
}

#: Those with the most orders; their parts are tested by shorter stories.
FURTHER = {
    "two refunds of which only totals are known: both failed",
    "two refunds of which only totals are known: one failed some seconds later than its figure fell",
    "several captures, and refunds of more than the rest",
    "a dispute that was won after a partial refund",
    "refunds above the payment, until one of them failed",
    "a refund that failed, and another one",
    "a dispute that a refund prevented",
    "a refund and a dispute of the same money, won",
    "a dispute that became smaller",
}


@pytest.mark.parametrize("name", variations(HARD, HARD.keys() - FURTHER))
def test_what_is_rare_ends_in_the_same_books_in_every_order(sql_school: SqlSchool, name: str) -> None:
    reported, row, sums = HARD[name]
    check(sql_school, reported, row, **sums)


def test_a_figure_that_may_hold_what_was_not_captured_is_left_out_and_the_reason_says_so(school: School) -> None:
    books = Books(school)
    captured = several_captures("captured", 5, 0, before={"amount_captured": 3000})
    books.settle([captured, several_captures("updated", 30, 2000)])
    assert books.rows == [("completed", 7000, 7000)]
    (row,) = [row for row in school.events() if "not booked" in (row.reason or "")]
    assert (row.reason or "").endswith(
        "; not booked: amount_refunded 2000 may hold 2000 that was not captured (minor units)"
    )


@pytest.mark.parametrize(("total", "booked"), [(3500, 3500), (5500, 3500), (4000, None)])
def test_the_refunds_that_a_charge_lists_say_what_its_total_holds(total: int, booked: int | None) -> None:
    listed = [
        refunded(20, 2500)["data"]["object"],
        refund("refund.created", 21, "pending", 1000, "re_2")["data"]["object"],
        refund_failed(22, 500, "re_3")["data"]["object"],
    ]
    body = several_captures("updated", 30, total)
    body["data"]["object"]["refunds"] = {"object": "list", "data": listed}
    notice = parse(body)
    assert (notice.refunded_minor, notice.unbooked is None) == (booked, booked is not None)


def test_a_total_above_the_payment_is_booked_up_to_the_payment_once_it_is_accepted(school: School) -> None:
    books = Books(school)
    before = books.sums()
    books.settle([PAID, charge("refunded", 20, amount_refunded=12000)])
    assert books.states == [EventState.APPLIED, EventState.QUARANTINED]
    (aside,) = [one for one in school.events() if one.state is EventState.QUARANTINED]
    assert "paid 10000" in (aside.reason or "")

    school.accept(aside.id)
    verdict = books.settlement.settle(aside.id)

    assert verdict is not None
    assert "its refunds of 12000 are above the 10000 that were paid: 2000 not booked" in verdict.reason
    assert books.rows == [("refunded", 10000, 0)]
    assert books.sums(before) == {}
    # a total that is newer takes its place
    books.settle([charge("updated", 40, previous={"amount_refunded": 12000}, amount_refunded=4000)])
    assert books.rows == [("partially_refunded", 10000, 6000)]


def test_a_payout_of_another_account_is_ignored_and_its_money_is_put_aside() -> None:
    body = {**event("payout.paid", 9, {"object": "payout", "id": "po_1", "amount": 5000}), "account": "acct_other"}
    notice = parse(body, account="acct_school")
    assert (notice.reference, notice.failure_reason) == (None, stripe_events.NO_MONEY["payout.paid"])
    with pytest.raises(UnreadableEventError, match="acct_other"):
        parse({**PAID, "account": "acct_other"}, account="acct_school")


def test_a_refund_above_the_payment_waits_and_is_booked_once_it_is_accepted(school: School) -> None:
    books = Books(school)
    books.settle([IN_PART, refunded(11, 5000)])
    assert books.states == [EventState.APPLIED, EventState.RECEIVED]
    (waiting,) = [one for one in school.events() if one.state is EventState.RECEIVED]

    school.accept(waiting.id)
    verdict = books.settlement.settle(waiting.id)

    assert verdict is not None
    assert "its refunds of 5000 are above the 4000 that were paid: 1000 not booked" in verdict.reason
    assert books.rows == [("refunded", 4000, 0)]


def test_refunds_above_the_payment_are_said_in_the_reason(sql_school: SqlSchool) -> None:
    reported = [PAID, refunded(11, 6000), SECOND]
    check(sql_school, reported, ("refunded", 10000, 0))
    reasons = [row.reason or "" for row in sql_school.events()]
    assert any("its refunds of 12000 are above the 10000 that were paid" in reason for reason in reasons)


def test_a_charge_back_of_what_the_wallet_has_spent_takes_the_subscriptions_that_it_paid(
    sql_school: SqlSchool,
) -> None:
    for order in orders(PAID, dispute("created", 20, "needs_response", 10000), dispute("closed", 30, "lost", 10000)):
        books = Books(sql_school)
        subscriptions = books.subscribe(6000, 4000)
        books.settle(order)
        assert books.rows == [("charged_back", 10000, 0)]
        assert (books.balance, books.statuses(subscriptions)) == (0, ["pending_payment"] * 2)
