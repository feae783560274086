"""Payments that were registered or paid by a checkout session of Stripe, in every order of events."""

from dataclasses import replace

import pytest

from services.webhook_gateway.errors import UnreadableEventError
from services.webhook_gateway.settlement.register_payment import register_payment
from shared.contracts.webhooks import EventState
from tests.webhook_gateway.settlement.factories import OPENED_AT, School
from tests.webhook_gateway.settlement.postgres_school import SqlSchool
from tests.webhook_gateway.settlement.samples import a_payment
from tests.webhook_gateway.settlement.stripe_bodies import charge, intent, refund, session
from tests.webhook_gateway.settlement.stripe_books import Books, check, orders, parse


def test_a_payment_that_was_registered_by_its_checkout_session_ends_in_its_own_row(sql_school: SqlSchool) -> None:
    paid = intent(metadata={"user_id": "USER"})
    collected = charge("succeeded", 2)
    for order in orders(session("completed"), paid, collected, refund("refund.created", 20, "succeeded", 4000)):
        books = Books(sql_school)
        (dearer, subscription) = books.subscribe(5000, 6000)
        row = books.check_out("cs_1", 10000, subscription)
        books.settle(order)
        assert books.rows == [("partially_refunded", 10000, 6000)], [one["type"] for one in order]
        assert sql_school.payment(row).reference == f"pi_{books.turn}_1"
        assert books.statuses([dearer, subscription]) == ["pending_payment", "active"]


def test_a_payment_that_was_registered_by_an_order_which_its_session_alone_names_ends_in_its_own_row(
    sql_school: SqlSchool,
) -> None:
    paid = intent(metadata={"user_id": "USER"})
    for order in orders(session("completed", client_reference_id="USER-order"), paid, charge("succeeded", 2)):
        books = Books(sql_school)
        row = books.check_out(None, 10000, order=f"{books.user_id}-order")
        books.settle(order)
        assert books.rows == [("completed", 10000, 10000)], [one["type"] for one in order]
        assert sql_school.payment(row).reference == f"pi_{books.turn}_1"


@pytest.mark.parametrize("expanded", [False, True])
def test_a_checkout_session_names_the_payer_of_its_payment(sql_school: SqlSchool, expanded: bool) -> None:
    payment_intent = {"id": "pi_1", "object": "payment_intent", "metadata": {}} if expanded else "pi_1"
    unpaid = session("completed", payment_status="unpaid", client_reference_id="USER", payment_intent=payment_intent)
    late = session("async_payment_succeeded", 9, client_reference_id="USER", payment_intent=payment_intent)
    check(sql_school, [unpaid, late, intent()], ("completed", 10000, 10000))
    by_metadata = session("completed", metadata={"user_id": "USER"}, payment_intent=payment_intent)
    check(sql_school, [by_metadata, intent()], ("completed", 10000, 10000))


@pytest.mark.parametrize(
    ("kind", "payment_intent", "status"),
    [("expired", None, "expired"), ("expired", "pi_1", "expired"), ("async_payment_failed", "pi_1", "failed")],
)
def test_a_checkout_session_that_collects_nothing_ends_its_payment(
    sql_school: SqlSchool, kind: str, payment_intent: str | None, status: str
) -> None:
    books = Books(sql_school)
    row = books.check_out("cs_1", 10000)
    books.settle([session(kind, payment_intent=payment_intent, payment_status="unpaid")])
    assert (sql_school.payment(row).status, books.balance) == (status, 0)
    # and one that nobody registered opens no payment
    stranger = Books(sql_school)
    stranger.settle([session("expired", payment_intent=None, payment_status="unpaid", client_reference_id="USER")])
    assert stranger.rows == []


def test_a_session_whose_event_comes_after_half_a_minute_closes_the_row_that_it_was_registered_by(
    school: School,
) -> None:
    # Given a payment for the second of two subscriptions, registered by its session
    books = Books(school)
    subscriptions = books.subscribe(6000, 10000)
    row = books.check_out("cs_1", 10000, subscriptions[1])
    # When the event of the session comes too late
    books.settle([intent(metadata={"user_id": "USER"})])
    assert books.states == [EventState.RECEIVED]
    (waiting,) = [one for one in school.events() if one.state is EventState.RECEIVED]
    while school.event(waiting.id).state is EventState.RECEIVED:
        books.settlement.settle(waiting.id)
    assert books.statuses(subscriptions) == ["active", "pending_payment"]
    books.settle([session("completed")])
    # Then the registered row is closed, and what it was for is paid
    assert school.payment(row).status == "canceled"
    assert books.rows == [("canceled", 10000, 0), ("completed", 10000, 10000)]
    assert books.statuses(subscriptions) == ["pending_payment", "active"]
    assert books.balance == 0
    # and again changes nothing
    books.settle([session("completed", 2)])
    assert books.states == [EventState.IGNORED]
    assert books.statuses(subscriptions) == ["pending_payment", "active"]


def test_a_session_that_the_school_registers_after_its_event_is_the_payment_of_that(sql_school: SqlSchool) -> None:
    books = Books(sql_school)
    # Given a session whose event waits, because nobody is named yet
    books.settle([session("completed")])
    assert books.states == [EventState.RECEIVED]
    # When the school registers it by the session
    payment = replace(a_payment(books.user_id, 10000, reference=f"cs_{books.turn}_1"), provider="stripe")
    with sql_school.books() as store:
        known = register_payment(payment, store, OPENED_AT)
    assert known.reference == f"pi_{books.turn}_1"
    # Then the event finds it, and to register it again changes nothing
    (waiting,) = [one for one in sql_school.events() if one.state is EventState.RECEIVED]
    books.settlement.settle(waiting.id)
    with sql_school.books() as store:
        assert register_payment(payment, store, OPENED_AT).id == known.id
    assert books.rows == [("completed", 10000, 10000)]


def test_a_session_of_another_amount_than_registered_is_quarantined_with_both(sql_school: SqlSchool) -> None:
    books = Books(sql_school)
    books.check_out("cs_1", 9000)
    books.settle([session("completed")])
    assert books.states == [EventState.QUARANTINED]
    (row,) = [one for one in sql_school.events() if one.state is EventState.QUARANTINED]
    assert all(value in str(row.reason) for value in ("registered 9000 DZD", "10000 (minor units)"))
    assert books.balance == 0


def test_a_session_that_is_paid_by_nothing_is_put_aside() -> None:
    with pytest.raises(UnreadableEventError, match="names no payment_intent"):
        parse(session("completed", payment_intent=None))
