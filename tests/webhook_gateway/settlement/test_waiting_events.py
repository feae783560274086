"""What is not known yet waits, with growing pauses, for a day at most; it is never dropped."""

from datetime import timedelta

import pytest

from services.webhook_gateway.errors import ProviderBusyError, ProviderUnavailableError, UnreadableEventError
from services.webhook_gateway.payments.payment_state import Stage
from services.webhook_gateway.providers.base import PaymentNotice
from services.webhook_gateway.settlement.settle import MIN_TRIES, Settlement
from services.webhook_gateway.settlement.settlement_store import SettlementResult
from shared.contracts.webhooks import EventState
from tests.webhook_gateway.settlement.factories import OPENED_AT
from tests.webhook_gateway.settlement.harness import Harness

PAID = {"stage": Stage.COMPLETED, "amount_minor": 2500}
ANSWER = PaymentNotice(key="", kind="redirect", reference="R1", order_number="O1", **PAID)  # type: ignore[arg-type]


def assert_nothing_moved(harness: Harness) -> None:
    assert (harness.school.payments(), harness.school.lines(), harness.school.messages()) == ([], [], [])


@pytest.mark.parametrize(
    ("reported", "word"),
    [
        ({**PAID, "user_id": 7}, "user 7 is not known yet"),
        ({**PAID, "order_number": "O1"}, "no payment has this reference or order number"),
        ({"refunded_minor": 100, "user_id": 1}, "the payment that this is about is not known yet"),
    ],
)
def test_an_unknown_user_order_or_payment_is_waited_for(
    harness: Harness, reported: dict[str, object], word: str
) -> None:
    harness.school.add_user()
    event_id = harness.receive(**reported)
    verdict = harness.settle(event_id)
    assert verdict is not None
    assert verdict.state is EventState.RECEIVED
    event = harness.school.event(event_id)
    assert (event.state, event.attempts) == (EventState.RECEIVED, 1)
    assert word in (event.reason or "")
    assert_nothing_moved(harness)


def test_the_waits_double_up_to_a_quarter_of_an_hour_and_end_after_a_day(harness: Harness) -> None:
    event_id = harness.receive(**PAID, user_id=7)
    waits = []
    while harness.settle(event_id) is not None:
        if (due := harness.school.event(event_id).next_attempt_at) is None:
            break
        waits.append((due - harness.clock()).total_seconds())
        harness.clock.at = due
    assert waits[:9] == [5, 10, 20, 40, 80, 160, 320, 640, 900]
    assert set(waits[9:]) == {900}
    event = harness.school.event(event_id)
    assert (event.state, event.next_attempt_at) == (EventState.DEAD, None)
    assert event.reason == "waited 24 hours in vain: user 7 is not known yet"
    assert timedelta(hours=24) <= harness.clock() - OPENED_AT < timedelta(hours=24, minutes=15)
    assert_nothing_moved(harness)


def test_what_fails_for_a_fault_of_our_own_waits_like_any_other_and_is_dead_after_a_day(
    harness: Harness,
) -> None:
    event_id = harness.receive(stage=Stage.COMPLETED, amount_minor=100, user_id=harness.school.add_user())

    verdict = harness.settlement.postpone(event_id, "DataError: out of range")

    assert verdict == SettlementResult(EventState.RECEIVED, "DataError: out of range")
    assert harness.school.event(event_id).attempts == 1
    # two days in which no worker ran are no tries
    harness.pass_time(timedelta(days=2))
    for _ in range(MIN_TRIES - 2):
        waits = harness.settlement.postpone(event_id, "DataError: out of range")
        assert waits is not None
        assert waits.state is EventState.RECEIVED
    dead = harness.settlement.postpone(event_id, "DataError: out of range")
    assert dead is not None
    assert dead.state is EventState.DEAD
    assert harness.settlement.postpone(event_id, "again") is None


def test_old_events_that_wait_for_a_turn_do_not_die_of_it(harness: Harness) -> None:
    # Given sixteen events a day old, that an operator replays, of a provider that may be asked about four at once
    events = [harness.receive(hint=True, reference=f"R{number}") for number in range(16)]
    harness.pass_time(timedelta(hours=25))
    harness.psp.answer = ProviderBusyError()
    # When each of them waits for its turn, again and again for two days
    for _ in range(5):
        for event_id in events:
            harness.settle(event_id)
        harness.pass_time(timedelta(hours=10))
    # Then none is dead, and none was tried
    rows = [harness.school.event(event_id) for event_id in events]
    assert {(row.state, row.tries, row.taken_up_at) for row in rows} == {(EventState.RECEIVED, 0, None)}


def test_an_old_event_has_its_full_patience_when_it_is_first_tried(harness: Harness) -> None:
    event_id = harness.receive(**PAID, user_id=7)
    harness.pass_time(timedelta(days=3))
    verdict = harness.settle(event_id)
    assert verdict is not None
    assert verdict.state is EventState.RECEIVED
    assert harness.school.event(event_id).taken_up_at == harness.clock()


def test_it_is_settled_when_its_user_appears(harness: Harness) -> None:
    event_id = harness.receive(**PAID, user_id=1)
    harness.settle(event_id)
    assert harness.school.add_user() == 1
    harness.pass_time(timedelta(seconds=4))
    assert harness.settle_due() == 0
    harness.pass_time(timedelta(seconds=1))
    assert harness.settle_due() == 1
    assert harness.school.event(event_id).state is EventState.APPLIED
    assert harness.school.balance(1) == 2500


def test_it_is_settled_when_its_order_appears(harness: Harness) -> None:
    event_id = harness.receive(**PAID, order_number="O1")
    harness.settle(event_id)
    user_id = harness.school.add_user()
    harness.check_out(user_id, 2500, order_number="O1")
    harness.pass_time(timedelta(hours=24))
    harness.settle_due()
    assert harness.school.event(event_id).state is EventState.APPLIED, "a day old, but known now"
    assert harness.school.balance(user_id) == 2500


def test_a_refund_that_came_first_is_released_by_its_payment(harness: Harness) -> None:
    user_id = harness.school.add_user()
    refund_id = harness.receive(refunded_minor=1000)
    for _ in range(8):
        harness.settle(refund_id)
    harness.book(**PAID, user_id=user_id)
    assert harness.school.event(refund_id).next_attempt_at == harness.clock(), "at once, not in ten minutes"
    assert harness.settle_due() == 1
    assert harness.school.balance(user_id) == 1500


def test_a_hint_asks_the_provider_and_never_believes_the_request(harness: Harness) -> None:
    user_id = harness.school.add_user()
    harness.check_out(user_id, 2500, order_number="O1")
    harness.psp.answer = ANSWER
    lie = {"stage": Stage.COMPLETED, "amount_minor": 9_999_999, "user_id": user_id + 1, "currency": "EUR"}
    verdict = harness.book(hint=True, **lie)
    assert verdict.state is EventState.APPLIED
    assert harness.psp.asked == ["R1"]
    assert harness.school.balance(user_id) == 2500


def test_a_hint_about_no_payment_asks_nobody(harness: Harness) -> None:
    assert harness.book(hint=True, reference=None).state is EventState.IGNORED
    assert harness.psp.asked == []


@pytest.mark.parametrize(
    ("answer", "state", "word"),
    [
        (ProviderUnavailableError("the bank did not answer"), EventState.RECEIVED, "the bank did not answer"),
        (
            PaymentNotice(key="", kind="redirect", reference="R1", order_number="O1", amount_minor=2500),
            EventState.RECEIVED,
            "has not decided yet",
        ),
        (UnreadableEventError("the bank's answer has another form"), EventState.QUARANTINED, "another form"),
        (
            PaymentNotice(key="", kind="redirect", failure_reason="no such order there"),
            EventState.IGNORED,
            "no such order",
        ),
        (
            PaymentNotice(
                key="", kind="redirect", reference="R1", order_number="O1", stage=Stage.COMPLETED, amount_minor=2400
            ),
            EventState.QUARANTINED,
            "reported 2400",
        ),
    ],
)
def test_a_hint_is_worth_what_the_provider_answers(
    harness: Harness, answer: PaymentNotice | Exception, state: EventState, word: str
) -> None:
    user_id = harness.school.add_user()
    harness.check_out(user_id, 2500, order_number="O1")
    harness.psp.answer = answer
    event_id = harness.receive(hint=True, **PAID)
    verdict = harness.settle(event_id)
    assert verdict is not None
    assert verdict.state is state
    assert word in verdict.reason
    event = harness.school.event(event_id)
    assert (event.state, event.next_attempt_at is not None) == (state, state is EventState.RECEIVED)
    assert harness.school.balance(user_id) == 0
    assert (harness.school.lines(), harness.school.messages()) == ([], [])


def test_the_provider_is_asked_again_until_it_has_decided(harness: Harness) -> None:
    user_id = harness.school.add_user()
    harness.check_out(user_id, 2500, order_number="O1")
    harness.psp.answer = ProviderUnavailableError("not yet")
    harness.book(hint=True)
    harness.psp.answer = ANSWER
    harness.pass_time(timedelta(seconds=5))
    harness.settle_due()
    assert harness.psp.asked == ["R1", "R1"]
    assert harness.school.balance(user_id) == 2500


def test_what_only_waits_for_its_turn_to_be_asked_about_is_tried_again_within_half_a_minute(
    harness: Harness,
) -> None:
    harness.psp.answer = ProviderBusyError()
    event_id = harness.receive(hint=True)
    waits = []
    for _ in range(6):
        harness.settle(event_id)
        due = harness.school.event(event_id).next_attempt_at
        assert due is not None
        waits.append((due - harness.clock()).total_seconds())
        harness.clock.at = due
    assert waits == [5, 10, 20, 30, 30, 30]


def test_no_transaction_is_open_while_the_provider_is_asked(harness: Harness) -> None:
    steps: list[str] = []

    class Bank:
        def ask(self, notice: PaymentNotice) -> PaymentNotice:
            steps.append("asked")
            return ANSWER

    def books() -> object:
        steps.append("opened")
        return harness.school.books()

    settlement = harness.settlement
    settlement = Settlement(settlement.read, books, settlement.providers, {"psp": Bank()}, settlement.terms)  # type: ignore[arg-type]
    settlement.settle(harness.receive(hint=True))
    assert steps == ["asked", "opened"]


def test_an_event_of_a_provider_that_was_switched_off_waits_for_its_secrets(harness: Harness) -> None:
    event_id = harness.school.add_event("switched-off", "R1", b"whatever", harness.clock())
    verdict = harness.settle(event_id)
    assert verdict == SettlementResult(EventState.RECEIVED, "provider switched-off is switched off: set its secrets")
    assert harness.school.event(event_id).next_attempt_at == OPENED_AT + timedelta(seconds=5)
