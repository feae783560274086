"""A background thread survives every exception, says when it last succeeded, and stops at once."""

import threading
import time
from collections.abc import Callable

import pytest

from shared.runtime import periodic_thread
from shared.runtime.periodic_thread import PeriodicThread
from tests.waiting import wait_until


class Odd(BaseException):
    """What no `except Exception` sees, like dramatiq's Shutdown."""


def started(duty: Callable[[], bool | None], every_seconds: float = 0.01) -> PeriodicThread:
    thread = PeriodicThread(f"test {time.monotonic()}", duty, every_seconds)
    thread.start()
    return thread


@pytest.mark.parametrize("error", [ValueError("x"), OSError("x"), SystemExit(1), KeyboardInterrupt(), Odd("x")])
def test_it_goes_on_after_any_exception_and_counts_it(error: BaseException) -> None:
    calls = []

    def duty() -> None:
        calls.append(1)
        if len(calls) < 4:
            raise error

    thread = started(duty)
    wait_until(lambda: len(calls) > 5)
    assert thread.is_alive
    assert periodic_thread.FAILURES.labels(thread.name)._value.get() == 3
    thread.stop()
    assert not thread.is_alive


def test_its_last_success_is_exported_and_stays_old_while_it_fails_or_hangs() -> None:
    fail, hang = threading.Event(), threading.Event()

    def duty() -> None:
        if fail.is_set():
            raise ValueError
        if hang.is_set():
            thread.pause(60)

    thread = started(duty)

    def last_success() -> float:
        return float(periodic_thread.LAST_SUCCESS.labels(thread.name)._value.get())

    began = last_success()
    wait_until(lambda: last_success() > began)
    for broken in (fail, hang):
        broken.set()
        wait_until(lambda: time.time() - last_success() > 0.5)
        broken.clear()
        if broken is fail:
            wait_until(lambda: time.time() - last_success() < 0.3)
    thread.stop()
    assert not thread.is_alive


def test_a_wake_up_starts_a_round_and_a_true_answer_the_next_one() -> None:
    calls = []

    def duty() -> bool:
        calls.append(1)
        return len(calls) in (1, 2)

    thread = started(duty, every_seconds=60)
    assert not calls
    thread.wake()
    wait_until(lambda: len(calls) == 3)
    thread.stop(1)
    assert len(calls) == 3


def test_a_wake_up_does_not_hurry_a_duty_that_fails() -> None:
    calls = []

    def duty() -> None:
        calls.append(1)
        raise ValueError

    thread = started(duty)
    until = time.monotonic() + 1
    while time.monotonic() < until:
        thread.wake()
        time.sleep(0.001)
    thread.stop(1)
    assert len(calls) <= 6
