"""A provider is asked about few payments at once; the others are put off, not forgotten."""

import threading

import pytest

from services.webhook_gateway.errors import ProviderBusy, ProviderUnavailable
from services.webhook_gateway.psps.base import Notice
from services.webhook_gateway.psps.breaker import Breaker
from services.webhook_gateway.psps.sparing import AskSparingly


class SlowBank:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.answer = threading.Event()

    def ask(self, notice: Notice) -> Notice:
        self.asked.set()
        assert self.answer.wait(10)
        return notice


def test_one_question_too_many_is_put_off_until_another_is_answered() -> None:
    bank = SlowBank()
    asks = AskSparingly(bank, Breaker("bank"), at_once=1)
    first = threading.Thread(target=asks.ask, args=[Notice(key="1", kind="return")])
    first.start()
    assert bank.asked.wait(10)

    with pytest.raises(ProviderBusy, match="other payments"):
        asks.ask(Notice(key="2", kind="return"))

    bank.answer.set()
    first.join(10)
    assert asks.ask(Notice(key="2", kind="return")).key == "2"


def test_a_question_that_failed_leaves_its_place_to_the_next() -> None:
    class NoBank:
        def ask(self, notice: Notice) -> Notice:
            raise ProviderUnavailable("the bank does not answer")

    asks = AskSparingly(NoBank(), Breaker("bank"), at_once=1)

    for _ in range(3):
        with pytest.raises(ProviderUnavailable, match="does not answer"):
            asks.ask(Notice(key="1", kind="return"))
