"""A genuine event becomes money in the payer's wallet, once."""

from datetime import timedelta

import pytest

from services.webhook_gateway.payments.ledger import Account, AccountKind
from services.webhook_gateway.payments.payment_state import Stage, Status
from shared.contracts.webhooks import EventState
from tests.webhook_gateway.settlement.factories import OPENED_AT
from tests.webhook_gateway.settlement.harness import Harness

COMPLETED, FAILED = Stage.COMPLETED, Stage.FAILED


def test_a_paid_event_credits_the_user_it_names(harness: Harness) -> None:
    user_id = harness.school.add_user()

    verdict = harness.book(stage=COMPLETED, amount_minor=2500, currency="DZD", user_id=user_id, order_number="O1")

    (payment,) = harness.school.payments()
    assert (verdict.state, verdict.payment_id) == (EventState.APPLIED, payment.id)
    assert harness.school.balance(user_id) == 2500
    assert (payment.reference, payment.order_number, payment.user_id) == ("R1", "O1", user_id)
    assert (payment.status, payment.credited_minor, payment.completed_at) == (Status.COMPLETED, 2500, OPENED_AT)
    assert [message.payment_id for message in harness.school.messages()] == [payment.id]


def test_a_paid_event_credits_the_user_of_the_checkout(harness: Harness) -> None:
    user_id = harness.school.add_user()
    payment_id = harness.check_out(user_id, 2500, order_number="O1")

    harness.book(stage=COMPLETED, amount_minor=2500, order_number="O1")

    assert harness.school.balance(user_id) == 2500
    (payment,) = harness.school.payments()
    assert (payment.id, payment.reference) == (payment_id, "R1")


def test_a_second_payment_of_one_order_is_a_payment_of_its_own_for_the_same_user(harness: Harness) -> None:
    user_id = harness.school.add_user()
    harness.check_out(user_id, 2500, order_number="O1")

    harness.book(reference="R1", stage=FAILED, amount_minor=2500, order_number="O1", failure_reason="no funds")
    harness.book(reference="R2", stage=COMPLETED, amount_minor=2500, order_number="O1")

    assert [(row.reference, row.status) for row in harness.school.payments()] == [("R1", "failed"), ("R2", "completed")]
    assert harness.school.balance(user_id) == 2500


def test_a_repeat_is_ignored(harness: Harness) -> None:
    user_id = harness.school.add_user()
    event_id = harness.receive(stage=COMPLETED, amount_minor=2500, user_id=user_id)
    assert harness.settle(event_id) is not None
    before = (harness.school.lines(), harness.school.messages(), harness.school.payments())

    assert harness.settle(event_id) is None
    harness.pass_time(timedelta(minutes=5))
    again = harness.book(stage=COMPLETED, amount_minor=2500, user_id=user_id)

    assert again.state is EventState.IGNORED
    assert "nothing new" in again.reason
    assert (harness.school.lines(), harness.school.messages(), harness.school.payments()) == before


def test_a_late_failure_never_undoes_a_completed_payment(harness: Harness) -> None:
    user_id = harness.school.add_user()
    harness.book(stage=COMPLETED, amount_minor=2500, user_id=user_id)

    verdict = harness.book(stage=FAILED, amount_minor=2500, user_id=user_id, failure_reason="no funds", fee_minor=10)

    (payment,) = harness.school.payments()
    assert verdict.state is EventState.IGNORED
    assert (payment.status, payment.failure_reason, payment.fee_minor) == (Status.COMPLETED, None, 0)
    assert harness.school.balance(user_id) == 2500


def test_an_early_failure_is_forgotten_when_the_money_comes(harness: Harness) -> None:
    user_id = harness.school.add_user()
    harness.book(stage=FAILED, amount_minor=2500, user_id=user_id, failure_reason="no funds", method="cib")
    (payment,) = harness.school.payments()
    assert (payment.status, payment.failure_reason, payment.credited_minor) == (Status.FAILED, "no funds", 0)

    harness.book(stage=COMPLETED, amount_minor=2500, user_id=user_id, method="edahabia")

    (payment,) = harness.school.payments()
    assert (payment.status, payment.failure_reason, payment.method) == (Status.COMPLETED, None, "edahabia")
    assert harness.school.balance(user_id) == 2500


@pytest.mark.parametrize("hold_is_first", [True, False])
def test_what_is_collected_counts_and_not_what_was_held(harness: Harness, hold_is_first: bool) -> None:
    user_id = harness.school.add_user()
    hold = {"user_id": user_id, "stage": Stage.AUTHORIZED, "amount_minor": 1000}
    collection = {"user_id": user_id, "stage": Stage.COMPLETED, "amount_minor": 600}

    for reported in (hold, collection) if hold_is_first else (collection, hold):
        verdict = harness.book(**reported)
        assert verdict.state in (EventState.APPLIED, EventState.IGNORED)

    assert harness.school.balance(user_id) == 600


def test_a_fee_is_booked_apart_and_only_once(harness: Harness) -> None:
    user_id = harness.school.add_user()
    reported = {"stage": COMPLETED, "amount_minor": 2500, "user_id": user_id}
    harness.book(**reported)
    for fee_minor in (63, 63, 40):
        harness.book(**reported, fee_minor=fee_minor)

    assert [(line.account, line.amount_minor) for line in harness.school.lines()] == [
        (Account(AccountKind.WALLET, user_id=user_id), 2500),
        (Account(AccountKind.CLEARING, provider="psp"), -2500),
        (Account(AccountKind.CLEARING, provider="psp"), 63),
        (Account(AccountKind.FEES, provider="psp"), -63),
    ]
    assert harness.school.balance(user_id) == 2500


@pytest.mark.parametrize("amount_minor", [0, 1, 2**63 - 1])
def test_amounts_at_the_edges_are_booked_exactly(harness: Harness, amount_minor: int) -> None:
    user_id = harness.school.add_user()
    harness.book(stage=COMPLETED, amount_minor=amount_minor, fee_minor=amount_minor, user_id=user_id)
    assert harness.school.balance(user_id) == amount_minor
    harness.book(refunded_minor=amount_minor)
    assert harness.school.balance(user_id) == 0
    assert harness.school.payments()[0].fee_minor == amount_minor


def test_an_event_that_reports_nothing_about_a_payment_is_ignored(harness: Harness) -> None:
    verdict = harness.book(reference=None, kind="customer.created")
    assert (verdict.state, verdict.payment_id) == (EventState.IGNORED, None)
    assert "customer.created" in verdict.reason
    assert not harness.school.payments()
    assert not harness.school.messages()


def test_an_event_that_nobody_kept_is_nothing_to_settle(harness: Harness) -> None:
    assert harness.settle(404) is None


@pytest.mark.parametrize(
    ("before", "after"),
    [(Stage.PENDING, Stage.AUTHORIZED), (Stage.AUTHORIZED, Stage.EXPIRED), (Stage.EXPIRED, Stage.CANCELED)],
)
def test_a_payment_moves_forward_without_money(harness: Harness, before: Stage, after: Stage) -> None:
    user_id = harness.school.add_user()
    for stage in (before, after, before):
        harness.book(stage=stage, amount_minor=2500, user_id=user_id)
    (payment,) = harness.school.payments()
    assert payment.status == after.name.lower()
    assert harness.school.lines() == []
