"""Waits for what is to happen, and no longer."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(
    condition: Callable[[], T], timeout_seconds: float = 20.0, message: str = "the condition did not come true"
) -> T:
    """The first true answer of `condition`. Raises AssertionError with its last answer when the time is over."""
    deadline = time.monotonic() + timeout_seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"{message} within {timeout_seconds:g} s; the last answer was {answer!r}"
        time.sleep(0.02)
    return answer
