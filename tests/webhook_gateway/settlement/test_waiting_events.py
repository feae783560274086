"""What is not known yet waits, with growing pauses, for a day at most; it is never dropped."""

from datetime import timedelta

import pytest

from services.webhook_gateway.errors import ProviderBusyError, ProviderUnavailableError, UnreadableEventError
from services.webhook_gateway.payments.payment_state import Stage
from services.webhook_gateway.providers.base import PaymentNotice
from services.webhook_gateway.settlement.settle import MIN_TRIES, Settlement
from services.webhook_gateway.settlement.unit_of_work import SettlementResult
from shared.contracts.webhooks import EventState
from tests.webhook_gateway.settlement.factories import OPENED_AT
from tests.webhook_gateway.settlement.harness import Desk

PAID = {"stage": Stage.COMPLETED, "amount_minor": 2500}
ANSWER = PaymentNotice(key="", kind="redirect", reference="R1", order_number="O1", **PAID)  # type: ignore[arg-type]


def assert_nothing_moved(desk: Desk) -> None:
    assert (desk.school.payments(), desk.school.lines(), desk.school.messages()) == ([], [], [])


@pytest.mark.parametrize(
    ("told", "word"),
    [
        ({**PAID, "user_id": 7}, "user 7 is not known yet"),
        ({**PAID, "order_number": "O1"}, "no payment has this reference or order number"),
        ({"refunded_minor": 100, "user_id": 1}, "the payment that this is about is not known yet"),
    ],
)
def test_an_unknown_user_order_or_payment_is_waited_for(desk: Desk, told: dict[str, object], word: str) -> None:
    desk.school.add_user()
    event_id = desk.tell(**told)
    verdict = desk.settle(event_id)
    assert verdict is not None
    assert verdict.state is EventState.RECEIVED
    event = desk.school.event(event_id)
    assert (event.state, event.attempts) == (EventState.RECEIVED, 1)
    assert word in (event.reason or "")
    assert_nothing_moved(desk)


def test_the_waits_double_up_to_a_quarter_of_an_hour_and_end_after_a_day(desk: Desk) -> None:
    event_id = desk.tell(**PAID, user_id=7)
    waits = []
    while desk.settle(event_id) is not None:
        if (due := desk.school.event(event_id).next_attempt_at) is None:
            break
        waits.append((due - desk.clock()).total_seconds())
        desk.clock.at = due
    assert waits[:9] == [5, 10, 20, 40, 80, 160, 320, 640, 900]
    assert set(waits[9:]) == {900}
    event = desk.school.event(event_id)
    assert (event.state, event.next_attempt_at) == (EventState.DEAD, None)
    assert event.reason == "waited 24 hours in vain: user 7 is not known yet"
    assert timedelta(hours=24) <= desk.clock() - OPENED_AT < timedelta(hours=24, minutes=15)
    assert_nothing_moved(desk)


def test_what_fails_for_a_fault_of_our_own_waits_like_any_other_and_is_dead_after_a_day(desk: Desk) -> None:
    event_id = desk.tell(stage=Stage.COMPLETED, amount_minor=100, user_id=desk.school.add_user())

    verdict = desk.settlement.postpone(event_id, "DataError: out of range")

    assert verdict == SettlementResult(EventState.RECEIVED, "DataError: out of range")
    assert desk.school.event(event_id).attempts == 1
    # two days in which no worker ran are no tries
    desk.pass_time(timedelta(days=2))
    for _ in range(MIN_TRIES - 2):
        waits = desk.settlement.postpone(event_id, "DataError: out of range")
        assert waits is not None
        assert waits.state is EventState.RECEIVED
    dead = desk.settlement.postpone(event_id, "DataError: out of range")
    assert dead is not None
    assert dead.state is EventState.DEAD
    assert desk.settlement.postpone(event_id, "again") is None


def test_old_events_that_wait_for_a_turn_do_not_die_of_it(desk: Desk) -> None:
    # Given sixteen events a day old, that an operator replays, of a provider that may be asked about four at once
    events = [desk.tell(hint=True, reference=f"R{number}") for number in range(16)]
    desk.pass_time(timedelta(hours=25))
    desk.psp.answer = ProviderBusyError()
    # When each of them waits for its turn, again and again for two days
    for _ in range(5):
        for event_id in events:
            desk.settle(event_id)
        desk.pass_time(timedelta(hours=10))
    # Then none is dead, and none was tried
    rows = [desk.school.event(event_id) for event_id in events]
    assert {(row.state, row.tries, row.taken_up_at) for row in rows} == {(EventState.RECEIVED, 0, None)}


def test_an_old_event_has_its_full_patience_when_it_is_first_tried(desk: Desk) -> None:
    event_id = desk.tell(**PAID, user_id=7)
    desk.pass_time(timedelta(days=3))
    verdict = desk.settle(event_id)
    assert verdict is not None
    assert verdict.state is EventState.RECEIVED
    assert desk.school.event(event_id).taken_up_at == desk.clock()


def test_it_is_settled_when_its_user_appears(desk: Desk) -> None:
    event_id = desk.tell(**PAID, user_id=1)
    desk.settle(event_id)
    assert desk.school.add_user() == 1
    desk.pass_time(timedelta(seconds=4))
    assert desk.settle_due() == 0
    desk.pass_time(timedelta(seconds=1))
    assert desk.settle_due() == 1
    assert desk.school.event(event_id).state is EventState.APPLIED
    assert desk.school.balance(1) == 2500


def test_it_is_settled_when_its_order_appears(desk: Desk) -> None:
    event_id = desk.tell(**PAID, order_number="O1")
    desk.settle(event_id)
    user_id = desk.school.add_user()
    desk.check_out(user_id, 2500, order_number="O1")
    desk.pass_time(timedelta(hours=24))
    desk.settle_due()
    assert desk.school.event(event_id).state is EventState.APPLIED, "a day old, but known now"
    assert desk.school.balance(user_id) == 2500


def test_a_refund_that_came_first_is_released_by_its_payment(desk: Desk) -> None:
    user_id = desk.school.add_user()
    refund_id = desk.tell(refunded_minor=1000)
    for _ in range(8):
        desk.settle(refund_id)
    desk.book(**PAID, user_id=user_id)
    assert desk.school.event(refund_id).next_attempt_at == desk.clock(), "at once, not in ten minutes"
    assert desk.settle_due() == 1
    assert desk.school.balance(user_id) == 1500


def test_a_hint_asks_the_provider_and_never_believes_the_request(desk: Desk) -> None:
    user_id = desk.school.add_user()
    desk.check_out(user_id, 2500, order_number="O1")
    desk.psp.answer = ANSWER
    lie = {"stage": Stage.COMPLETED, "amount_minor": 9_999_999, "user_id": user_id + 1, "currency": "EUR"}
    verdict = desk.book(hint=True, **lie)
    assert verdict.state is EventState.APPLIED
    assert desk.psp.asked == ["R1"]
    assert desk.school.balance(user_id) == 2500


def test_a_hint_about_no_payment_asks_nobody(desk: Desk) -> None:
    assert desk.book(hint=True, reference=None).state is EventState.IGNORED
    assert desk.psp.asked == []


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
            "told 2400",
        ),
    ],
)
def test_a_hint_is_worth_what_the_provider_answers(
    desk: Desk, answer: PaymentNotice | Exception, state: EventState, word: str
) -> None:
    user_id = desk.school.add_user()
    desk.check_out(user_id, 2500, order_number="O1")
    desk.psp.answer = answer
    event_id = desk.tell(hint=True, **PAID)
    verdict = desk.settle(event_id)
    assert verdict is not None
    assert verdict.state is state
    assert word in verdict.reason
    event = desk.school.event(event_id)
    assert (event.state, event.next_attempt_at is not None) == (state, state is EventState.RECEIVED)
    assert desk.school.balance(user_id) == 0
    assert (desk.school.lines(), desk.school.messages()) == ([], [])


def test_the_provider_is_asked_again_until_it_has_decided(desk: Desk) -> None:
    user_id = desk.school.add_user()
    desk.check_out(user_id, 2500, order_number="O1")
    desk.psp.answer = ProviderUnavailableError("not yet")
    desk.book(hint=True)
    desk.psp.answer = ANSWER
    desk.pass_time(timedelta(seconds=5))
    desk.settle_due()
    assert desk.psp.asked == ["R1", "R1"]
    assert desk.school.balance(user_id) == 2500


def test_what_only_waits_for_its_turn_to_be_asked_about_is_tried_again_within_half_a_minute(desk: Desk) -> None:
    desk.psp.answer = ProviderBusyError()
    event_id = desk.tell(hint=True)
    waits = []
    for _ in range(6):
        desk.settle(event_id)
        due = desk.school.event(event_id).next_attempt_at
        assert due is not None
        waits.append((due - desk.clock()).total_seconds())
        desk.clock.at = due
    assert waits == [5, 10, 20, 30, 30, 30]


def test_no_transaction_is_open_while_the_provider_is_asked(desk: Desk) -> None:
    steps: list[str] = []

    class Bank:
        def ask(self, notice: PaymentNotice) -> PaymentNotice:
            steps.append("asked")
            return ANSWER

    def books() -> object:
        steps.append("opened")
        return desk.school.books()

    settlement = desk.settlement
    settlement = Settlement(settlement.read, books, settlement.providers, {"psp": Bank()}, settlement.terms)  # type: ignore[arg-type]
    settlement.settle(desk.tell(hint=True))
    assert steps == ["asked", "opened"]


def test_an_event_of_a_provider_that_was_switched_off_waits_for_its_secrets(desk: Desk) -> None:
    event_id = desk.school.add_event("switched-off", "R1", b"whatever", desk.clock())
    verdict = desk.settle(event_id)
    assert verdict == SettlementResult(EventState.RECEIVED, "provider switched-off is switched off: set its secrets")
    assert desk.school.event(event_id).next_attempt_at == OPENED_AT + timedelta(seconds=5)
