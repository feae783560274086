"""A provider that fails again and again is left alone, tried once after a while, and asked again when it answers."""

import threading

import pytest
from prometheus_client import REGISTRY

from services.webhook_gateway.errors import PaymentPendingError, ProviderRateLimitedError, ProviderUnavailableError
from services.webhook_gateway.providers.circuit_breaker import Breaker
from tests.waiting import wait_until


def fail(breaker: Breaker, error: ProviderUnavailableError | None = None) -> None:
    with pytest.raises(ProviderUnavailableError), breaker.watch():
        raise error or ProviderUnavailableError("the bank does not answer")


def state(provider: str) -> float | None:
    return REGISTRY.get_sample_value("nouba_provider_breaker_state", {"provider": provider})


def test_it_opens_after_failures_in_a_row_and_then_nobody_asks() -> None:
    breaker = Breaker("opens", failures=3)
    for _ in range(2):
        fail(breaker)
    with breaker.watch():
        pass  # an answer: the failures before it count no more
    for _ in range(2):
        fail(breaker)
    assert (breaker.is_open, state("opens")) == (False, 0)

    fail(breaker)

    assert (breaker.is_open, state("opens")) == (True, 2)
    with pytest.raises(ProviderUnavailableError, match="left alone"), breaker.watch():
        raise AssertionError("somebody asked")


def test_it_closes_again_when_the_provider_answers() -> None:
    breaker = Breaker("closes", failures=1, pause_seconds=0.05)
    fail(breaker)
    wait_until(lambda: not breaker.is_open)

    with breaker.watch():
        assert state("closes") == 1

    assert (breaker.is_open, state("closes")) == (False, 0)
    fail(breaker, PaymentPendingError("the payer has not finished"))
    assert not breaker.is_open, "an answer that decides nothing is an answer"


def test_a_trial_that_fails_makes_the_pause_longer() -> None:
    breaker = Breaker("longer", failures=3, pause_seconds=0.05)
    for _ in range(3):
        fail(breaker)
    wait_until(lambda: not breaker.is_open)

    fail(breaker)  # one is enough now

    assert breaker.is_open
    threading.Event().wait(0.06)
    assert breaker.is_open, "the second pause is as short as the first"


def test_a_provider_that_wants_to_be_left_alone_is_at_once() -> None:
    breaker = Breaker("limited", failures=5, pause_seconds=0.01)

    fail(breaker, ProviderRateLimitedError(30))

    threading.Event().wait(0.02)
    assert breaker.is_open


def test_many_ask_at_once_through_one_breaker() -> None:
    breaker, both = Breaker("at-once"), threading.Barrier(2, timeout=10)

    def ask() -> None:
        with breaker.watch():
            both.wait()

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert not both.broken
