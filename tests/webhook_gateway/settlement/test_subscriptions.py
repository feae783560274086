"""The wallet pays pending subscriptions oldest first, and gives back newest first."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.webhook_gateway.payments.model import Subscription
from services.webhook_gateway.payments.payment_state import Dispute, Stage
from services.webhook_gateway.payments.subscriptions import covered, no_longer_covered
from tests.webhook_gateway.settlement.factories import OPENED_AT
from tests.webhook_gateway.settlement.harness import Desk

PENDING, ACTIVE = "pending_payment", "active"


def subscribe(desk: Desk, user_id: int, *amounts_minor: int) -> list[int]:
    """Pending subscriptions, the oldest first."""
    return [
        desk.school.add_subscription(user_id, amount, created_at=OPENED_AT + timedelta(minutes=turn))
        for turn, amount in enumerate(amounts_minor)
    ]


def statuses(desk: Desk, subscription_ids: list[int]) -> list[str]:
    return [desk.school.subscription(number).status for number in subscription_ids]


def pay(desk: Desk, user_id: int, amount_minor: int, reference: str = "R1") -> None:
    desk.book(reference=reference, stage=Stage.COMPLETED, amount_minor=amount_minor, user_id=user_id)


def test_one_payment_activates_all_that_it_covers_oldest_first(desk: Desk) -> None:
    user_id = desk.school.add_user()
    ids = subscribe(desk, user_id, 1000, 500, 800)
    pay(desk, user_id, 2000)
    assert statuses(desk, ids) == [ACTIVE, ACTIVE, PENDING]
    assert desk.school.balance(user_id) == 500
    first = desk.school.subscription(ids[0])
    assert (first.activated_at, first.ends_at) == (OPENED_AT, OPENED_AT + timedelta(days=30))


def test_the_first_that_is_not_covered_ends_it_though_a_younger_one_is_cheaper(desk: Desk) -> None:
    user_id = desk.school.add_user()
    ids = subscribe(desk, user_id, 1000, 10)
    pay(desk, user_id, 999)
    assert statuses(desk, ids) == [PENDING, PENDING]
    pay(desk, user_id, 1, "R2")
    assert statuses(desk, ids) == [ACTIVE, PENDING]
    assert desk.school.balance(user_id) == 0


def test_two_payments_together_pay_what_neither_covers(desk: Desk) -> None:
    user_id = desk.school.add_user()
    ids = subscribe(desk, user_id, 1000)
    pay(desk, user_id, 600, "R1")
    pay(desk, user_id, 600, "R2")
    assert (statuses(desk, ids), desk.school.balance(user_id)) == ([ACTIVE], 200)


def test_a_refund_gives_back_the_newest_first_and_no_more_than_it_must(desk: Desk) -> None:
    user_id = desk.school.add_user()
    ids = subscribe(desk, user_id, 1000, 500, 300)
    pay(desk, user_id, 2000)
    seen = []
    for total in (100, 400, 1200, 2000):
        desk.book(refunded_minor=total)
        seen.append((statuses(desk, ids).count(ACTIVE), desk.school.balance(user_id)))
    assert seen == [(3, 100), (2, 100), (0, 800), (0, 0)]
    assert all(desk.school.subscription(number).activated_at is None for number in ids)


def test_a_dispute_that_is_won_pays_again_for_what_it_took(desk: Desk) -> None:
    user_id = desk.school.add_user()
    ids = subscribe(desk, user_id, 1000, 500)
    pay(desk, user_id, 1500)
    desk.book(dispute=Dispute.OPEN)
    assert statuses(desk, ids) == [PENDING, PENDING]
    desk.book(dispute=Dispute.WON)
    assert statuses(desk, ids) == [ACTIVE, ACTIVE]
    assert desk.school.balance(user_id) == 0


def test_what_the_school_activated_or_ended_itself_is_left_alone(desk: Desk) -> None:
    user_id = desk.school.add_user()
    by_school = [
        desk.school.add_subscription(user_id, 100, status=status) for status in (ACTIVE, "expired", "cancelled")
    ]
    (paid,) = subscribe(desk, user_id, 200)
    before = [desk.school.subscription(number) for number in by_school]
    pay(desk, user_id, 1000)
    desk.book(refunded_minor=1000)
    assert [desk.school.subscription(number) for number in by_school] == before
    assert desk.school.subscription(paid).status == PENDING


def test_another_users_subscription_is_never_paid(desk: Desk) -> None:
    payer, other = desk.school.add_user(), desk.school.add_user()
    ids = subscribe(desk, other, 10)
    pay(desk, payer, 1000)
    assert (statuses(desk, ids), desk.school.balance(payer), desk.school.balance(other)) == ([PENDING], 1000, 0)


def test_a_price_that_the_school_changes_later_does_not_change_what_is_given_back(desk: Desk) -> None:
    user_id = desk.school.add_user()
    (number,) = subscribe(desk, user_id, 1000)
    pay(desk, user_id, 1000)
    desk.school.change_price(number, 1500)
    desk.book(refunded_minor=1000)
    assert desk.school.balance(user_id) == 0


@pytest.mark.parametrize("refunded_first", [False, True])
def test_a_free_subscription_runs_from_the_first_completed_payment_whatever_became_of_the_money(
    desk: Desk, refunded_first: bool
) -> None:
    user_id = desk.school.add_user()
    desk.check_out(user_id, 1000, reference="R1")
    ids = subscribe(desk, user_id, 0, 1000)
    news = [{"stage": Stage.COMPLETED, "amount_minor": 1000}, {"refunded_minor": 1000}]
    for told in reversed(news) if refunded_first else news:
        desk.book(**told)
    assert (statuses(desk, ids), desk.school.balance(user_id)) == ([ACTIVE, PENDING], 0)


def test_an_end_of_the_schools_own_outlives_the_way_there_and_back(desk: Desk) -> None:
    end = datetime.fromisoformat("2126-06-30T23:00:00+00:00")
    user_id = desk.school.add_user()
    number = desk.school.add_subscription(user_id, 100, ends_at=end)
    pay(desk, user_id, 100)
    assert desk.school.subscription(number).ends_at == end
    desk.book(refunded_minor=100)
    assert desk.school.subscription(number).ends_at == end


def test_a_term_that_has_ended_is_not_paid(desk: Desk) -> None:
    # Given a subscription that waited until its term was over, and a new one
    user_id = desk.school.add_user()
    ended = desk.school.add_subscription(user_id, 3000, ends_at=OPENED_AT - timedelta(days=200))
    new = desk.school.add_subscription(user_id, 3000, created_at=OPENED_AT + timedelta(minutes=1))

    pay(desk, user_id, 3000)

    assert statuses(desk, [ended, new]) == [PENDING, ACTIVE]


@given(st.lists(st.integers(0, 50)), st.integers(0, 500), st.integers(0, 500))
def test_what_is_paid_is_a_function_of_the_money_alone(prices: list[int], first: int, then: int) -> None:
    turn = [Subscription(number, price) for number, price in enumerate(prices)]
    at_first = list(covered(first, turn))
    balance = then - sum(subscription.amount_minor for subscription in at_first)
    if balance < 0:
        given_back = list(no_longer_covered(balance, reversed(at_first)))
        remaining = at_first[: len(at_first) - len(given_back)]
    else:
        remaining = at_first + list(covered(balance, turn[len(at_first) :]))
    assert remaining == list(covered(then, turn))
