"""Refunds and disputes take back what was credited, never more, and return what is won."""

from collections.abc import Sequence
from typing import Any

import pytest

from services.webhook_gateway.payments.objects import DisputeState
from services.webhook_gateway.payments.payment_state import Stage, Status
from shared.contracts.webhooks import EventState
from tests.webhook_gateway.settlement.harness import Harness
from tests.webhook_gateway.settlement.samples import disputed

PAID = {"stage": Stage.COMPLETED, "amount_minor": 2500}


def test_refunds_are_totals_and_are_booked_as_they_grow(harness: Harness) -> None:
    user_id = harness.school.add_user()
    harness.book(**PAID, user_id=user_id)
    seen = []
    for total in (400, 1000, 400, 2500, 2500):
        verdict = harness.book(refunded_minor=total)
        seen.append((verdict.state, harness.school.payments()[0].status, harness.school.balance(user_id)))
    assert seen == [
        (EventState.APPLIED, Status.PARTIALLY_REFUNDED, 2100),
        (EventState.APPLIED, Status.PARTIALLY_REFUNDED, 1500),
        (EventState.IGNORED, Status.PARTIALLY_REFUNDED, 1500),
        (EventState.APPLIED, Status.REFUNDED, 0),
        (EventState.IGNORED, Status.REFUNDED, 0),
    ]


def test_the_fee_of_a_refunded_payment_stays_booked(harness: Harness) -> None:
    user_id = harness.school.add_user()
    harness.book(**PAID, user_id=user_id, fee_minor=63)
    harness.book(refunded_minor=2500)
    sums = dict.fromkeys(("user_wallet", "psp_clearing", "psp_fees"), 0)
    for line in harness.school.lines():
        sums[line.account.kind] += line.amount_minor
    assert sums == {"user_wallet": 0, "psp_clearing": 63, "psp_fees": -63}


OPEN, WON, LOST = (disputed(state) for state in (DisputeState.OPEN, DisputeState.WON, DisputeState.LOST))


@pytest.mark.parametrize(
    ("news", "balances", "status"),
    [
        ([OPEN], [0], Status.DISPUTED),
        ([OPEN, WON], [0, 2500], Status.COMPLETED),
        ([OPEN, LOST], [0, 0], Status.CHARGED_BACK),
        ([LOST, OPEN], [0, 0], Status.CHARGED_BACK),
        ([WON, OPEN], [2500, 2500], Status.COMPLETED),
        ([{"refunded_minor": 500}, OPEN, WON], [2000, 0, 2000], Status.PARTIALLY_REFUNDED),
        ([OPEN, {"refunded_minor": 500}, WON], [0, 0, 2000], Status.PARTIALLY_REFUNDED),
    ],
)
def test_disputed_money_is_withheld_until_the_dispute_is_won(
    harness: Harness, news: Sequence[dict[str, Any]], balances: list[int], status: Status
) -> None:
    user_id = harness.school.add_user()
    harness.book(**PAID, user_id=user_id)
    seen = []
    for reported in news:
        harness.book(**reported)
        seen.append(harness.school.balance(user_id))
    assert (seen, harness.school.payments()[0].status) == (balances, status)


def test_a_dispute_says_why_and_a_later_failure_does_not_take_its_place(harness: Harness) -> None:
    user_id = harness.school.add_user()
    harness.book(**PAID, user_id=user_id)
    harness.book(**OPEN, failure_reason="fraudulent")
    harness.book(stage=Stage.FAILED, amount_minor=2500, failure_reason="no funds")
    assert harness.school.payments()[0].failure_reason == "fraudulent"


@pytest.mark.parametrize(
    ("early", "balance", "status"),
    [
        ({"refunded_minor": 1000}, 1500, Status.PARTIALLY_REFUNDED),
        ({"refunded_minor": 2500}, 0, Status.REFUNDED),
        (OPEN, 0, Status.DISPUTED),
    ],
)
def test_news_that_outran_the_payment_of_a_checkout_count_when_it_comes(
    harness: Harness, early: dict[str, Any], balance: int, status: Status
) -> None:
    user_id = harness.school.add_user()
    harness.check_out(user_id, 2500, reference="R1")
    harness.book(**early)
    assert harness.school.payments()[0].status is Status.PENDING
    assert harness.school.lines() == []
    harness.book(**PAID)
    assert (harness.school.balance(user_id), harness.school.payments()[0].status) == (balance, status)


def test_a_refund_reported_with_the_payment_credits_the_rest(harness: Harness) -> None:
    user_id = harness.school.add_user()
    harness.book(**PAID, user_id=user_id, refunded_minor=700)
    assert harness.school.balance(user_id) == 1800
