"""What does not match moves no money: it is put aside for an operator, with both values."""

from typing import Any

import pytest

from services.webhook_gateway.payments.payment_state import Stage, Status
from services.webhook_gateway.settlement.unit_of_work import SettlementResult
from shared.contracts.webhooks import EventState
from tests.webhook_gateway.settlement.harness import Desk

PAID = {"stage": Stage.COMPLETED, "amount_minor": 2500}


def assert_put_aside(desk: Desk, verdict: SettlementResult, *words: str) -> None:
    """The event is kept with its reason; the ledger, the outbox and the payment are as they were before."""
    assert verdict.state is EventState.QUARANTINED
    for word in words:
        assert word in verdict.reason
    *_, event = desk.school.events()
    assert (event.state, event.reason, event.payment_id) == (EventState.QUARANTINED, verdict.reason, verdict.payment_id)
    assert desk.school.lines() == []
    assert desk.school.messages() == []
    assert all(payment.status is Status.PENDING for payment in desk.school.payments())


@pytest.mark.parametrize("amount_minor", [2499, 2501, 250_000, 0])
def test_another_amount_than_the_checkout_registered(desk: Desk, amount_minor: int) -> None:
    user_id = desk.school.add_user()
    payment_id = desk.check_out(user_id, 2500, order_number="O1")
    verdict = desk.book(stage=Stage.COMPLETED, amount_minor=amount_minor, order_number="O1")
    assert_put_aside(desk, verdict, "registered 2500", f"told {amount_minor}")
    assert verdict.payment_id == payment_id
    assert desk.school.balance(user_id) == 0
    assert desk.school.payment(payment_id).reference is None, "the order still waits for its payment"


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"currency": "EUR"}, ("DZD", "EUR")),
        ({"user_id": 99}, ("user 1", "user 99")),
        ({"refunded_minor": 2501}, ("paid 2500", "2501 refunded")),
    ],
)
def test_another_currency_or_user_or_a_larger_refund_than_the_payment(
    desk: Desk, told: dict[str, Any], words: tuple[str, ...]
) -> None:
    user_id = desk.school.add_user()
    desk.check_out(user_id, 2500, reference="R1")
    assert_put_aside(desk, desk.book(**{**PAID, **told}), *words)
    assert desk.school.balance(user_id) == 0


def test_a_currency_that_the_wallets_do_not_have(desk: Desk) -> None:
    user_id = desk.school.add_user()
    assert_put_aside(desk, desk.book(**PAID, currency="EUR", user_id=user_id), "DZD", "EUR")
    assert desk.school.payments() == []


def test_a_checkout_in_another_currency_even_where_the_event_agrees_with_it(desk: Desk) -> None:
    desk.check_out(desk.school.add_user(), 2500, reference="R1", currency="EUR")
    assert_put_aside(desk, desk.book(**PAID, currency="EUR"), "DZD", "EUR")


def test_a_refund_above_a_payment_that_comes_with_it(desk: Desk) -> None:
    user_id = desk.school.add_user()
    assert_put_aside(desk, desk.book(**PAID, user_id=user_id, refunded_minor=2501), "paid 2500", "2501 refunded")
    assert desk.school.payments() == []


def test_a_second_payment_of_an_order_for_another_amount_or_user(desk: Desk) -> None:
    user_id = desk.school.add_user()
    desk.check_out(user_id, 2500, reference="R1", order_number="O1")
    for told, word in (({"amount_minor": 2400}, "told 2400"), ({"user_id": user_id + 1}, f"told user {user_id + 1}")):
        assert_put_aside(desk, desk.book(reference="R2", order_number="O1", **{**PAID, **told}), word)
    assert len(desk.school.payments()) == 1


def test_a_wrong_event_changes_nothing_of_a_payment_that_is_booked_already(desk: Desk) -> None:
    user_id = desk.school.add_user()
    desk.book(**PAID, user_id=user_id)
    before = (desk.school.payments(), desk.school.lines(), desk.school.messages())
    for told in ({"amount_minor": 2400}, {"currency": "USD"}, {"user_id": user_id + 1}, {"refunded_minor": 2501}):
        assert desk.book(**{**PAID, "user_id": user_id, **told}).state is EventState.QUARANTINED
    assert (desk.school.payments(), desk.school.lines(), desk.school.messages()) == before
    assert desk.school.balance(user_id) == 2500


def test_bytes_that_no_longer_have_the_providers_form(desk: Desk) -> None:
    event_id = desk.school.add_event("psp", "R1", b"written before the parser changed", desk.clock())
    verdict = desk.settle(event_id)
    assert verdict is not None
    assert_put_aside(desk, verdict, "must be one that was written before")


def test_a_reason_holds_no_personal_data_but_ids_and_amounts(desk: Desk) -> None:
    desk.check_out(desk.school.add_user(), 2500, reference="R1", order_number="a-name@example.com")
    verdict = desk.book(**{**PAID, "amount_minor": 1}, order_number="a-name@example.com", method="a-name")
    assert "a-name" not in verdict.reason
