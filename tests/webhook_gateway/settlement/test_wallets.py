"""A subscription that begins to wait while the wallet covers it already is paid without another payment's event."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from services.webhook_gateway.payments.payment_state import Stage
from services.webhook_gateway.settlement.postgres_users_able_to_pay import users_covered
from services.webhook_gateway.settlement.subscription_activation import pay_waiting
from tests.webhook_gateway.settlement.factories import OPENED_AT
from tests.webhook_gateway.settlement.harness import Harness
from tests.webhook_gateway.settlement.postgres_school import SqlSchool


@pytest.fixture
def harness(sql_school: SqlSchool) -> Harness:
    return Harness(sql_school)


def check(school: SqlSchool) -> int:
    return pay_waiting(users_covered(school.engine), school.books, "DZD", lambda: OPENED_AT)


def pay(harness: Harness, user_id: int, amount_minor: int) -> None:
    harness.book(reference=f"R{user_id}", user_id=user_id, stage=Stage.COMPLETED, amount_minor=amount_minor)


def test_what_begins_to_wait_later_is_paid_by_the_round_and_once(harness: Harness, sql_school: SqlSchool) -> None:
    user_id = sql_school.add_user()
    pay(harness, user_id, 1000)
    first = sql_school.add_subscription(user_id, 700)
    second = sql_school.add_subscription(user_id, 400, created_at=OPENED_AT + timedelta(minutes=1))

    assert check(sql_school) == 1
    assert check(sql_school) == 0

    assert sql_school.subscription(first).status == "active"
    assert sql_school.subscription(first).activated_at == OPENED_AT
    assert sql_school.subscription(second).status == "pending_payment"
    assert sql_school.balance(user_id) == 300
    lines = [(line.account.kind, line.amount_minor) for line in sql_school.lines() if line.event_id is None]
    assert lines == [("user_wallet", -700), ("subscription_revenue", 700)]


def test_one_that_is_not_covered_holds_up_no_other(harness: Harness, sql_school: SqlSchool) -> None:
    user_id = sql_school.add_user()
    pay(harness, user_id, 1000)
    dear = sql_school.add_subscription(user_id, 1001)
    over = sql_school.add_subscription(user_id, 5, ends_at=OPENED_AT - timedelta(days=1))
    assert users_covered(sql_school.engine) == []
    cheap = sql_school.add_subscription(user_id, 5, created_at=OPENED_AT + timedelta(minutes=1))

    assert users_covered(sql_school.engine) == [user_id]
    assert check(sql_school) == 1
    found = [sql_school.subscription(number).status for number in (dear, over, cheap)]
    assert found == ["pending_payment", "pending_payment", "active"]


def test_an_empty_wallet_pays_nothing_and_one_below_zero_not_even_what_is_free(
    harness: Harness, sql_school: SqlSchool
) -> None:
    poor, indebted = sql_school.add_user(), sql_school.add_user()
    sql_school.add_subscription(poor, 1)
    sql_school.add_subscription(indebted, 1000)
    pay(harness, indebted, 1000)
    # the school ended the subscription that the money went to, and then the money went back
    with sql_school.engine.begin() as connection:
        connection.execute(text("UPDATE subscriptions SET status = 'cancelled' WHERE status = 'active'"))
    harness.book(reference=f"R{indebted}", stage=Stage.COMPLETED, amount_minor=1000, refunded_minor=1000)
    sql_school.add_subscription(indebted, 0)

    assert sql_school.balance(indebted) == -1000
    assert users_covered(sql_school.engine) == []


def test_money_that_goes_back_takes_back_what_a_round_had_paid(harness: Harness, sql_school: SqlSchool) -> None:
    user_id = sql_school.add_user()
    pay(harness, user_id, 1000)
    subscription_id = sql_school.add_subscription(user_id, 700)
    assert check(sql_school) == 1

    harness.book(reference=f"R{user_id}", stage=Stage.COMPLETED, amount_minor=1000, refunded_minor=1000)

    assert sql_school.subscription(subscription_id).status == "pending_payment"
    assert sql_school.balance(user_id) == 0
