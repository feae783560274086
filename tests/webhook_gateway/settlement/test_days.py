"""The day that is announced is the school's own, and the provider's time is believed within reason."""

from datetime import UTC, date, datetime, timedelta

import pytest

from services.webhook_gateway.payments.payment_state import Stage
from services.webhook_gateway.settlement.book_payment_notice import LATEST_DELIVERY
from tests.webhook_gateway.fakes import FakeSchool
from tests.webhook_gateway.settlement.factories import OPENED_AT
from tests.webhook_gateway.settlement.harness import Clock, Harness

PAID = {"stage": Stage.COMPLETED, "amount_minor": 100}


def days(harness: Harness) -> list[str]:
    return [message.day.isoformat() for message in harness.school.messages()]


@pytest.mark.parametrize(
    ("zone", "instant", "day"),
    [
        ("Africa/Algiers", "2026-03-01T22:59:59.999999+00:00", "2026-03-01"),
        ("Africa/Algiers", "2026-03-01T23:00:00+00:00", "2026-03-02"),
        ("Africa/Algiers", "2026-07-01T22:59:59+00:00", "2026-07-01"),
        ("Africa/Algiers", "2026-12-31T23:00:00+00:00", "2027-01-01"),
        # one hour before UTC's midnight in winter, two in summer time, which began on 29 March and ended on 25 October
        ("Europe/Paris", "2026-03-28T22:59:59+00:00", "2026-03-28"),
        ("Europe/Paris", "2026-03-28T23:00:00+00:00", "2026-03-29"),
        ("Europe/Paris", "2026-03-29T21:59:59+00:00", "2026-03-29"),
        ("Europe/Paris", "2026-03-29T22:00:00+00:00", "2026-03-30"),
        ("Europe/Paris", "2026-10-24T22:00:00+00:00", "2026-10-25"),
        ("Europe/Paris", "2026-10-25T22:59:59+00:00", "2026-10-25"),
        ("Europe/Paris", "2026-10-25T23:00:00+00:00", "2026-10-26"),
    ],
)
def test_a_day_ends_at_the_schools_midnight(zone: str, instant: str, day: str) -> None:
    harness = Harness(FakeSchool(), zone=zone, clock=Clock(datetime.fromisoformat(instant)))
    harness.book(**PAID, user_id=harness.school.add_user())
    assert days(harness) == [day]


@pytest.mark.parametrize(
    ("before_receipt", "believed"),
    [
        (timedelta(0), True),
        (timedelta(hours=12), True),
        (LATEST_DELIVERY, True),
        (LATEST_DELIVERY + timedelta(microseconds=1), False),
        (timedelta(days=3650), False),
        (timedelta(microseconds=-1), False),
        (timedelta(days=-3650), False),
    ],
)
def test_a_providers_time_is_believed_up_to_the_longest_delivery_and_never_the_future(
    harness: Harness, before_receipt: timedelta, believed: bool
) -> None:
    reported = OPENED_AT - before_receipt
    harness.book(**PAID, user_id=harness.school.add_user(), occurred_at=reported)
    assert harness.school.payments()[0].completed_at == (reported if believed else OPENED_AT)


def test_the_receipt_counts_and_not_the_settlement_hours_later(harness: Harness) -> None:
    event_id = harness.receive(**PAID, user_id=harness.school.add_user())
    harness.pass_time(timedelta(hours=20))
    harness.settle(event_id)
    assert harness.school.payments()[0].completed_at == OPENED_AT


def test_a_refund_changes_the_numbers_of_the_day_of_the_payment(harness: Harness) -> None:
    harness.book(**PAID, user_id=harness.school.add_user())
    harness.pass_time(timedelta(days=10))
    harness.book(refunded_minor=100)
    assert days(harness) == ["2026-03-01", "2026-03-01"]


def test_without_completion_it_is_the_day_of_the_receipt(harness: Harness) -> None:
    harness.clock.at = datetime(2026, 3, 5, 23, 30, tzinfo=UTC)
    harness.book(stage=Stage.FAILED, amount_minor=100, user_id=harness.school.add_user())
    assert days(harness) == ["2026-03-06"]


def test_an_earlier_time_of_completion_changes_the_numbers_of_both_days(harness: Harness) -> None:
    user_id = harness.school.add_user()
    harness.book(**PAID, user_id=user_id)
    harness.book(**PAID, user_id=user_id, occurred_at=OPENED_AT - timedelta(days=1))
    assert harness.school.payments()[0].completed_at == OPENED_AT - timedelta(days=1)
    assert [message.day for message in harness.school.messages()] == [
        date(2026, 3, 1),
        date(2026, 2, 28),
        date(2026, 3, 1),
    ]
