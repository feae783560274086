"""What does not match moves no money: it is put aside for an operator, with both values."""

from typing import Any

import pytest

from services.webhook_gateway.payments.payment_state import Stage, Status
from services.webhook_gateway.settlement.settlement_store import SettlementResult
from shared.contracts.webhooks import EventState
from tests.webhook_gateway.settlement.harness import Harness

PAID = {"stage": Stage.COMPLETED, "amount_minor": 2500}


def assert_put_aside(harness: Harness, verdict: SettlementResult, *words: str) -> None:
    """The event is kept with its reason; the ledger, the outbox and the payment are as they were before."""
    assert verdict.state is EventState.QUARANTINED
    for word in words:
        assert word in verdict.reason
    *_, event = harness.school.events()
    assert (event.state, event.reason, event.payment_id) == (EventState.QUARANTINED, verdict.reason, verdict.payment_id)
    assert harness.school.lines() == []
    assert harness.school.messages() == []
    assert all(payment.status is Status.PENDING for payment in harness.school.payments())


@pytest.mark.parametrize("amount_minor", [2499, 2501, 250_000, 0])
def test_another_amount_than_the_checkout_registered(harness: Harness, amount_minor: int) -> None:
    user_id = harness.school.add_user()
    payment_id = harness.check_out(user_id, 2500, order_number="O1")
    verdict = harness.book(stage=Stage.COMPLETED, amount_minor=amount_minor, order_number="O1")
    assert_put_aside(harness, verdict, "registered 2500", f"reported {amount_minor}")
    assert verdict.payment_id == payment_id
    assert harness.school.balance(user_id) == 0
    assert harness.school.payment(payment_id).reference is None, "the order still waits for its payment"


@pytest.mark.parametrize(
    ("reported", "words"),
    [
        ({"currency": "EUR"}, ("DZD", "EUR")),
        ({"user_id": 99}, ("user 1", "user 99")),
        ({"refunded_minor": 2501}, ("paid 2500", "2501 refunded")),
    ],
)
def test_another_currency_or_user_or_a_larger_refund_than_the_payment(
    harness: Harness, reported: dict[str, Any], words: tuple[str, ...]
) -> None:
    user_id = harness.school.add_user()
    harness.check_out(user_id, 2500, reference="R1")
    assert_put_aside(harness, harness.book(**{**PAID, **reported}), *words)
    assert harness.school.balance(user_id) == 0


def test_a_currency_that_the_wallets_do_not_have(harness: Harness) -> None:
    user_id = harness.school.add_user()
    assert_put_aside(harness, harness.book(**PAID, currency="EUR", user_id=user_id), "DZD", "EUR")
    assert harness.school.payments() == []


def test_a_checkout_in_another_currency_even_where_the_event_agrees_with_it(harness: Harness) -> None:
    harness.check_out(harness.school.add_user(), 2500, reference="R1", currency="EUR")
    assert_put_aside(harness, harness.book(**PAID, currency="EUR"), "DZD", "EUR")


def test_a_refund_above_a_payment_that_comes_with_it(harness: Harness) -> None:
    user_id = harness.school.add_user()
    assert_put_aside(harness, harness.book(**PAID, user_id=user_id, refunded_minor=2501), "paid 2500", "2501 refunded")
    assert harness.school.payments() == []


def test_a_second_payment_of_an_order_for_another_amount_or_user(harness: Harness) -> None:
    user_id = harness.school.add_user()
    harness.check_out(user_id, 2500, reference="R1", order_number="O1")
    for reported, word in (
        ({"amount_minor": 2400}, "reported 2400"),
        ({"user_id": user_id + 1}, f"reported user {user_id + 1}"),
    ):
        assert_put_aside(harness, harness.book(reference="R2", order_number="O1", **{**PAID, **reported}), word)
    assert len(harness.school.payments()) == 1


def test_a_wrong_event_changes_nothing_of_a_payment_that_is_booked_already(harness: Harness) -> None:
    user_id = harness.school.add_user()
    harness.book(**PAID, user_id=user_id)
    before = (harness.school.payments(), harness.school.lines(), harness.school.messages())
    for reported in ({"amount_minor": 2400}, {"currency": "USD"}, {"user_id": user_id + 1}, {"refunded_minor": 2501}):
        assert harness.book(**{**PAID, "user_id": user_id, **reported}).state is EventState.QUARANTINED
    assert (harness.school.payments(), harness.school.lines(), harness.school.messages()) == before
    assert harness.school.balance(user_id) == 2500


def test_bytes_that_no_longer_have_the_providers_form(harness: Harness) -> None:
    event_id = harness.school.add_event("psp", "R1", b"written before the parser changed", harness.clock())
    verdict = harness.settle(event_id)
    assert verdict is not None
    assert_put_aside(harness, verdict, "must be one that was written before")


def test_a_reason_holds_no_personal_data_but_ids_and_amounts(harness: Harness) -> None:
    harness.check_out(harness.school.add_user(), 2500, reference="R1", order_number="a-name@example.com")
    verdict = harness.book(**{**PAID, "amount_minor": 1}, order_number="a-name@example.com", method="a-name")
    assert "a-name" not in verdict.reason
