"""When a payment is asked about: early enough for the bank, and ever more rarely."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from services.webhook_gateway.reconciliation.reconcile import GIVE_UP_AFTER, next_ask

BEGUN = datetime(2026, 11, 23, 9, tzinfo=UTC)
#: What is known of SATIM's patience with an order that nobody confirms.
AUTO_CANCEL = timedelta(minutes=20)


def ages(jitter: float) -> list[timedelta]:
    """The ages at which a payment is asked about that never ends."""
    asked, at = [], BEGUN + timedelta(minutes=2)
    while at is not None:
        asked.append(at - BEGUN)
        at = next_ask(BEGUN, at, jitter)  # type: ignore[assignment]
    return asked


def test_a_payment_is_asked_about_at_planned_ages_and_at_last_every_six_hours() -> None:
    minutes = [age / timedelta(minutes=1) for age in ages(0.0)]

    assert minutes[:5] == [2, 5, 10, 15, 19]
    assert [round(minute) for minute in minutes[5:9]] == [24, 30, 37, 46]
    assert minutes[-1] - minutes[-2] == 360
    assert len(minutes) == 33


@given(st.floats(0, 1))
def test_an_order_paid_at_any_moment_of_its_first_hour_is_confirmed_before_the_bank_cancels_it(jitter: float) -> None:
    asked = ages(jitter)

    assert min(age for age in asked if age > timedelta(minutes=17)) < AUTO_CANCEL
    first_hour = [pair for pair in pairwise(asked) if pair[0] < timedelta(hours=1)]
    assert all(after - before < AUTO_CANCEL for before, after in first_hour)


@given(st.timedeltas(timedelta(0), GIVE_UP_AFTER - timedelta(microseconds=1)), st.floats(0, 1))
def test_the_next_question_is_later_but_at_most_six_hours(age: timedelta, jitter: float) -> None:
    planned = next_ask(BEGUN, BEGUN + age, jitter)

    assert planned is not None
    assert timedelta(0) < planned - (BEGUN + age) <= timedelta(hours=6)


def test_a_payment_of_three_days_is_asked_about_no_more() -> None:
    assert next_ask(BEGUN, BEGUN + GIVE_UP_AFTER, 0.5) is None
