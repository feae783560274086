"""The wallet pays what a payment was made for, then the oldest subscription that fits, and blocks nothing."""

from dataclasses import replace
from datetime import datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.webhook_gateway.payments.model import Credit, Subscription
from services.webhook_gateway.payments.objects import DisputeState
from services.webhook_gateway.payments.payment_state import Stage
from services.webhook_gateway.payments.subscription_allocation import allot
from tests.webhook_gateway.settlement.factories import OPENED_AT
from tests.webhook_gateway.settlement.harness import Harness
from tests.webhook_gateway.settlement.samples import disputed

PENDING, ACTIVE = "pending_payment", "active"


def subscribe(harness: Harness, user_id: int, *amounts_minor: int) -> list[int]:
    """Pending subscriptions, the oldest first."""
    return [
        harness.school.add_subscription(user_id, amount, created_at=OPENED_AT + timedelta(minutes=turn))
        for turn, amount in enumerate(amounts_minor)
    ]


def statuses(harness: Harness, subscription_ids: list[int]) -> list[str]:
    return [harness.school.subscription(number).status for number in subscription_ids]


def pay(harness: Harness, user_id: int, amount_minor: int, reference: str = "R1") -> None:
    harness.book(reference=reference, stage=Stage.COMPLETED, amount_minor=amount_minor, user_id=user_id)


def test_one_payment_activates_all_that_it_covers_oldest_first(harness: Harness) -> None:
    user_id = harness.school.add_user()
    ids = subscribe(harness, user_id, 1000, 500, 800)
    pay(harness, user_id, 2000)
    assert statuses(harness, ids) == [ACTIVE, ACTIVE, PENDING]
    assert harness.school.balance(user_id) == 500
    first = harness.school.subscription(ids[0])
    assert (first.activated_at, first.ends_at) == (OPENED_AT, OPENED_AT + timedelta(days=30))


def test_one_that_is_not_covered_waits_and_a_younger_cheaper_one_does_not(harness: Harness) -> None:
    user_id = harness.school.add_user()
    ids = subscribe(harness, user_id, 1000, 10)
    harness.pass_time(timedelta(days=1))
    pay(harness, user_id, 999)
    assert statuses(harness, ids) == [PENDING, ACTIVE]
    harness.pass_time(timedelta(days=1))
    pay(harness, user_id, 1, "R2")
    assert (statuses(harness, ids), harness.school.balance(user_id)) == ([PENDING, ACTIVE], 990)
    pay(harness, user_id, 10, "R3")
    assert (statuses(harness, ids), harness.school.balance(user_id)) == ([ACTIVE, ACTIVE], 0)


def test_two_payments_together_pay_what_neither_covers(harness: Harness) -> None:
    user_id = harness.school.add_user()
    ids = subscribe(harness, user_id, 1000)
    pay(harness, user_id, 600, "R1")
    pay(harness, user_id, 600, "R2")
    assert (statuses(harness, ids), harness.school.balance(user_id)) == ([ACTIVE], 200)


def test_a_refund_gives_back_no_more_than_it_must(harness: Harness) -> None:
    user_id = harness.school.add_user()
    ids = subscribe(harness, user_id, 1000, 500, 300)
    pay(harness, user_id, 2000)
    seen = []
    for total in (100, 400, 1200, 2000):
        harness.book(refunded_minor=total)
        seen.append((statuses(harness, ids), harness.school.balance(user_id)))
    assert seen == [
        ([ACTIVE, ACTIVE, ACTIVE], 100),
        ([ACTIVE, ACTIVE, PENDING], 100),
        # what is left covers the two cheaper ones, which the dear one does not block
        ([PENDING, ACTIVE, ACTIVE], 0),
        ([PENDING, PENDING, PENDING], 0),
    ]
    assert all(harness.school.subscription(number).activated_at is None for number in ids)


def test_a_dispute_that_is_won_pays_again_for_what_it_took(harness: Harness) -> None:
    user_id = harness.school.add_user()
    ids = subscribe(harness, user_id, 1000, 500)
    pay(harness, user_id, 1500)
    harness.book(**disputed(DisputeState.OPEN))
    assert statuses(harness, ids) == [PENDING, PENDING]
    harness.book(**disputed(DisputeState.WON))
    assert statuses(harness, ids) == [ACTIVE, ACTIVE]
    assert harness.school.balance(user_id) == 0


def test_what_the_school_activated_or_ended_itself_is_left_alone(harness: Harness) -> None:
    user_id = harness.school.add_user()
    by_school = [
        harness.school.add_subscription(user_id, 100, status=status) for status in (ACTIVE, "expired", "cancelled")
    ]
    (paid,) = subscribe(harness, user_id, 200)
    before = [harness.school.subscription(number) for number in by_school]
    pay(harness, user_id, 1000)
    harness.book(refunded_minor=1000)
    assert [harness.school.subscription(number) for number in by_school] == before
    assert harness.school.subscription(paid).status == PENDING


def test_another_users_subscription_is_never_paid(harness: Harness) -> None:
    payer, other = harness.school.add_user(), harness.school.add_user()
    ids = subscribe(harness, other, 10)
    pay(harness, payer, 1000)
    assert (statuses(harness, ids), harness.school.balance(payer), harness.school.balance(other)) == (
        [PENDING],
        1000,
        0,
    )


def test_a_price_that_the_school_changes_later_does_not_change_what_is_given_back(harness: Harness) -> None:
    user_id = harness.school.add_user()
    (number,) = subscribe(harness, user_id, 1000)
    pay(harness, user_id, 1000)
    harness.school.change_price(number, 1500)
    harness.book(refunded_minor=1000)
    assert harness.school.balance(user_id) == 0


@pytest.mark.parametrize("refunded_first", [False, True])
def test_a_free_subscription_runs_from_the_first_completed_payment_whatever_became_of_the_money(
    harness: Harness, refunded_first: bool
) -> None:
    user_id = harness.school.add_user()
    harness.check_out(user_id, 1000, reference="R1")
    ids = subscribe(harness, user_id, 0, 1000)
    news = [{"stage": Stage.COMPLETED, "amount_minor": 1000}, {"refunded_minor": 1000}]
    for reported in reversed(news) if refunded_first else news:
        harness.book(**reported)
    assert (statuses(harness, ids), harness.school.balance(user_id)) == ([ACTIVE, PENDING], 0)


def test_an_end_of_the_schools_own_outlives_the_way_there_and_back(harness: Harness) -> None:
    end = datetime.fromisoformat("2026-06-30T23:00:00+00:00")
    user_id = harness.school.add_user()
    number = harness.school.add_subscription(user_id, 100, ends_at=end)
    pay(harness, user_id, 100)
    assert harness.school.subscription(number).ends_at == end
    harness.book(refunded_minor=100)
    assert harness.school.subscription(number).ends_at == end


def credit(amount_minor: int, at: datetime, name: str = "R1", subscription_id: int | None = None) -> Credit:
    return Credit(at, ("psp", name), amount_minor, subscription_id)


def waiting(*prices: int, begins_at: datetime = OPENED_AT) -> list[Subscription]:
    return [Subscription(number, price, begins_at) for number, price in enumerate(prices)]


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 9)), max_size=6),
    st.lists(st.tuples(st.integers(0, 80), st.integers(0, 9)), max_size=5),
    st.integers(-40, 40),
    st.randoms(),
)
def test_what_is_paid_follows_from_the_facts_alone(
    prices: list[tuple[int, int]], payments: list[tuple[int, int]], rest: int, dice: Random
) -> None:
    turn = [Subscription(n, price, OPENED_AT + timedelta(days=day)) for n, (price, day) in enumerate(prices)]
    credits = [credit(amount, OPENED_AT + timedelta(days=day), f"R{n}") for n, (amount, day) in enumerate(payments)]
    money = rest + sum(one.amount_minor for one in credits)
    paid = allot(money, credits, turn)
    left = money - sum(one.amount_minor for one in turn if one.id in paid)
    assert left >= 0 or not paid
    assert left < 0 or all(one.amount_minor > left for one in turn if one.id not in paid), "one that fits waits"
    for shuffled in (credits, turn):
        dice.shuffle(shuffled)
    assert allot(money, credits, turn) == paid
    # what was paid stays paid when more money comes later
    more = [*credits, credit(30, OPENED_AT + timedelta(days=20), "later")]
    assert allot(money + 30, more, turn) >= paid


def test_what_runs_under_an_earlier_rule_runs_on() -> None:
    dear, cheap = waiting(3000, 1000)
    credits = [credit(1000, OPENED_AT), credit(2000, OPENED_AT + timedelta(days=1), "R2")]
    assert allot(3000, credits, [dear, cheap]) == {cheap.id}
    assert allot(3000, credits, [replace(dear, is_kept=True), cheap]) == {dear.id}
    assert allot(2000, credits[1:], [replace(dear, is_kept=True), cheap]) == {cheap.id}


def test_a_dearer_older_one_blocks_nothing(harness: Harness) -> None:
    user_id = harness.school.add_user()
    ids = subscribe(harness, user_id, 3000, 1000)
    harness.pass_time(timedelta(days=1))
    pay(harness, user_id, 1000)
    assert statuses(harness, ids) == [PENDING, ACTIVE]
    assert harness.school.balance(user_id) == 0
    # more money pays the next one, and takes nothing away
    harness.pass_time(timedelta(days=1))
    pay(harness, user_id, 3000, "R2")
    assert statuses(harness, ids) == [ACTIVE, ACTIVE]


@pytest.mark.parametrize("named_by", ["the notice", "the checkout"])
def test_what_a_payment_was_made_for_is_paid_first(harness: Harness, named_by: str) -> None:
    user_id = harness.school.add_user()
    ids = subscribe(harness, user_id, 1000, 1000, 500)
    reported = {"reference": "R1", "stage": Stage.COMPLETED, "amount_minor": 1000, "user_id": user_id}
    if named_by == "the checkout":
        harness.check_out(user_id, 1000, reference="R1", subscription_id=ids[1])
        harness.book(**reported)
    else:
        harness.book(**reported, subscription_id=ids[1])
    assert statuses(harness, ids) == [PENDING, ACTIVE, PENDING]
    harness.book(reference="R1", refunded_minor=500)
    assert statuses(harness, ids) == [PENDING, PENDING, ACTIVE]


def test_a_subscription_of_somebody_else_that_a_payment_names_is_not_paid(harness: Harness) -> None:
    payer, other = harness.school.add_user(), harness.school.add_user()
    (theirs,), (mine,) = subscribe(harness, other, 1000), subscribe(harness, payer, 1000)
    harness.book(stage=Stage.COMPLETED, amount_minor=1000, user_id=payer, subscription_id=theirs)
    assert statuses(harness, [theirs, mine]) == [PENDING, ACTIVE]


def test_a_term_that_has_ended_is_never_paid(harness: Harness) -> None:
    user_id = harness.school.add_user()
    over = harness.school.add_subscription(user_id, 100, ends_at=OPENED_AT - timedelta(seconds=1))
    (next_term,) = subscribe(harness, user_id, 100)
    harness.book(stage=Stage.COMPLETED, amount_minor=1000, user_id=user_id, subscription_id=over)
    assert statuses(harness, [over, next_term]) == [PENDING, ACTIVE]
    assert harness.school.balance(user_id) == 900
