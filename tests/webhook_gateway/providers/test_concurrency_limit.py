"""A provider is asked about few payments at once; the others are put off, not forgotten."""

import threading

import pytest

from services.webhook_gateway.errors import ProviderBusyError, ProviderUnavailableError
from services.webhook_gateway.providers.base import PaymentNotice
from services.webhook_gateway.providers.circuit_breaker import Breaker
from services.webhook_gateway.providers.concurrency_limit import UNREGISTERED_AT_ONCE, ConcurrencyLimited


class SlowBank:
    """Answers when it is let."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.answer = threading.Event()

    def ask(self, notice: PaymentNotice) -> PaymentNotice:
        self.asked.set()
        assert self.answer.wait(10)
        return notice


def test_one_question_too_many_is_put_off_until_another_is_answered() -> None:
    bank = SlowBank()
    asks = ConcurrencyLimited(bank, Breaker("bank"), at_once=1)
    first = threading.Thread(target=asks.ask, args=[PaymentNotice(key="1", kind="return")])
    first.start()
    assert bank.asked.wait(10)

    with pytest.raises(ProviderBusyError, match="other payments"):
        asks.ask(PaymentNotice(key="2", kind="return"))

    bank.answer.set()
    first.join(10)
    assert asks.ask(PaymentNotice(key="2", kind="return")).key == "2"


def test_a_question_that_failed_leaves_its_place_to_the_next() -> None:
    class NoBank:
        def ask(self, notice: PaymentNotice) -> PaymentNotice:
            raise ProviderUnavailableError("the bank does not answer")

    asks = ConcurrencyLimited(NoBank(), Breaker("bank"), at_once=1)

    for _ in range(3):
        with pytest.raises(ProviderUnavailableError, match="does not answer"):
            asks.ask(PaymentNotice(key="1", kind="return"))


def test_questions_about_made_up_orders_leave_room_for_a_registered_one() -> None:
    # Given as many made-up orders as may be asked about at once, at a slow bank
    bank = SlowBank()
    asks = ConcurrencyLimited(bank, Breaker("bank"), is_registered=lambda reference: reference == "registered")
    made_up = [PaymentNotice(key=str(n), kind="return", reference=f"made-up-{n}") for n in range(UNREGISTERED_AT_ONCE)]
    threads = [threading.Thread(target=asks.ask, args=[notice]) for notice in made_up]
    for thread in threads:
        bank.asked.clear()
        thread.start()
        assert bank.asked.wait(10)

    # When one more comes, and a registered order
    with pytest.raises(ProviderBusyError):
        asks.ask(PaymentNotice(key="more", kind="return", reference="made-up"))
    bank.asked.clear()
    registered = PaymentNotice(key="one", kind="return", reference="registered")
    threads.append(threading.Thread(target=asks.ask, args=[registered]))
    threads[-1].start()

    # Then the bank is asked about the registered one
    assert bank.asked.wait(10)
    bank.answer.set()
    for thread in threads:
        thread.join(10)
