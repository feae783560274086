"""A provider is asked about few payments at once; the others are put off, not forgotten."""

import threading

import pytest

from services.webhook_gateway.errors import ProviderBusyError, ProviderUnavailableError
from services.webhook_gateway.providers.base import PaymentNotice
from services.webhook_gateway.providers.circuit_breaker import Breaker
from services.webhook_gateway.providers.concurrency_limit import ConcurrencyLimited


class SlowBank:
    """Answers when it is told to."""

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
