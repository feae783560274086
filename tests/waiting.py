"""Waits for what is to happen, and no longer."""

import time
from collections.abc import Callable
from typing import Final, TypeVar

MIN_SECONDS: Final = 0.02
MAX_SECONDS: Final = 0.25
#: What is seen late is late by so much of the wait at most.
_PART: Final = 1 / 20
#: The pause after a check is so many times as long as the check, which takes CPU time of the test's process and of its
#: server that what is waited for needs.
_PAUSE_PER_CHECK: Final = 9
T = TypeVar("T")


def wait_until(
    condition: Callable[[], T], timeout_seconds: float = 20.0, message: str = "the condition did not come true"
) -> T:
    """The first true answer of `condition`. Raises AssertionError with its last answer when the time is over."""
    began = checked = time.monotonic()
    deadline = began + timeout_seconds
    while not (answer := condition()):
        now = time.monotonic()
        assert now < deadline, f"{message} within {timeout_seconds:g} s; the last answer was {answer!r}"
        time.sleep(min(MAX_SECONDS, max(MIN_SECONDS, (now - began) * _PART, (now - checked) * _PAUSE_PER_CHECK)))
        checked = time.monotonic()
    return answer
