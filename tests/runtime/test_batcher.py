"""What arrives together is done together, and nobody waits for a batch to fill."""

import itertools
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any

import pytest
from dramatiq.threading import raise_thread_exception

from shared.runtime import batcher
from shared.runtime.batcher import Batcher, LeaderLeft
from tests.waiting import wait_until

TraceFunction = Callable[[FrameType, str, object], Any]


class Desk:
    """Does things when it is told to, and remembers the batches."""

    def __init__(self) -> None:
        self.batches: list[Sequence[int]] = []
        self.go = threading.Event()

    def do(self, batch: Sequence[int]) -> Sequence[int | BaseException]:
        self.batches.append(batch)
        assert self.go.wait(10)
        if 13 in batch:
            raise ZeroDivisionError
        return [KeyError(item) if item < 0 else item * 10 for item in batch]


def ask_while_the_first_is_done(desk: Desk, items: Sequence[int], most: int = 100) -> list[int | BaseException]:
    """The answers to 1, which is done first, and to `items`, which arrive meanwhile in this order."""
    gathering = Batcher(desk.do, most)

    def ask(item: int) -> int | BaseException:
        try:
            return gathering(item)
        except (KeyError, ZeroDivisionError) as error:
            return error

    with ThreadPoolExecutor(len(items) + 1) as threads:
        answers = []
        for number, item in enumerate([1, *items]):
            answers.append(threads.submit(ask, item))
            wait_until(lambda: bool(desk.batches), 10, "the first was not begun")
            wait_until(lambda number=number: len(gathering._waiting) == number, 10, "it does not wait")  # type: ignore[misc]
        desk.go.set()
        return [answer.result(10) for answer in answers]


def test_the_first_goes_alone_and_those_that_come_meanwhile_go_together() -> None:
    desk = Desk()
    assert ask_while_the_first_is_done(desk, [2, 3, 4]) == [10, 20, 30, 40]
    assert desk.batches == [[1], [2, 3, 4]]


def test_a_batch_has_a_largest_size() -> None:
    desk = Desk()
    assert ask_while_the_first_is_done(desk, [2, 3, 4, 5, 6], most=2) == [10, 20, 30, 40, 50, 60]
    assert desk.batches == [[1], [2, 3], [4, 5], [6]]


def test_one_that_cannot_be_done_spoils_no_other() -> None:
    first, second, bad = ask_while_the_first_is_done(Desk(), [2, -3])
    assert (first, second) == (10, 20)
    assert isinstance(bad, KeyError)


def test_what_a_batch_waited_for_in_vain_nobody_behind_it_waits_for_again() -> None:
    desk = Desk()
    first, *failed = ask_while_the_first_is_done(desk, [2, 13, 4, 5, 6], most=2)
    assert first == 10
    assert [type(one) for one in failed] == [ZeroDivisionError] * 5
    # the first, and the one that failed
    assert len(desk.batches) == 2


def test_after_a_rest_it_begins_again() -> None:
    desk = Desk()
    desk.go.set()
    gathering = Batcher(desk.do, 10)
    with pytest.raises(ZeroDivisionError):
        gathering(13)
    assert [gathering(1), gathering(2)] == [10, 20]


class TimeIsUp(BaseException):
    """What dramatiq's time limit does to a thread, wherever it is."""


def raise_at_line(number: int, raised: list[str]) -> TraceFunction:
    """A trace function that raises TimeIsUp at the `number`th line of the batcher that this thread runs."""
    left = [number]

    def trace(frame: FrameType, event: str, _argument: object) -> TraceFunction | None:
        if frame.f_code.co_filename != batcher.__file__:
            return None
        if event == "line" and not raised:
            left[0] -= 1
            if left[0] == 0:
                raised.append(f"{frame.f_code.co_name}:{frame.f_lineno}")
                raise TimeIsUp
        return trace

    return trace


@pytest.mark.parametrize("struck", ["who leads", "who waits"])
@pytest.mark.parametrize("fails", [False, True], ids=["a batch that is done", "a batch that fails"])
def test_an_exception_at_any_line_leaves_nobody_waiting(struck: str, fails: bool) -> None:
    """The first caller leads, two wait; one of them is struck at its first line, its second, and so on to its last."""
    places = set()
    for number in itertools.count(1):
        raised: list[str] = []
        desk = Desk()
        gathering = Batcher(desk.do, 100)

        def ask(item: int, traced: bool, gathering: Batcher[int, int] = gathering, raised: list[str] = raised) -> str:
            if traced:
                sys.settrace(raise_at_line(number, raised))  # noqa: B023 - it is done before the next number
            try:
                return str(gathering(item))
            except (TimeIsUp, ZeroDivisionError, LeaderLeft) as error:
                return type(error).__name__
            finally:
                sys.settrace(None)

        with ThreadPoolExecutor(3) as threads:
            first = threads.submit(ask, 13 if fails else 1, struck == "who leads")
            wait_until(lambda: bool(desk.batches) or first.done(), 10)  # noqa: B023
            second = threads.submit(ask, 2, struck == "who waits")
            third = threads.submit(ask, 3, False)
            wait_until(lambda: len(gathering._waiting) >= 2 or bool(raised) or len(desk.batches) > 1, 10)  # noqa: B023
            desk.go.set()
            answers = [call.result(10) for call in (first, second, third)]
        assert answers[2] in ("30", "TimeIsUp", "ZeroDivisionError", "LeaderLeft"), answers
        assert gathering(4) == 40, f"struck at {raised}"
        if not raised:
            break
        places.add(raised[0])
    print(f"\n{len(places)} lines: {sorted(places)}")
    assert len(places) > 10


def test_one_whose_time_is_up_while_it_waits_keeps_nobody_from_their_turn() -> None:
    desk = Desk()
    gathering = Batcher(desk.do, 1)
    ended: list[str] = []

    def ask_impatiently() -> None:
        try:
            gathering(2)
        except TimeIsUp:
            ended.append("the impatient one")

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(gathering, 1)
        wait_until(lambda: bool(desk.batches), 10, "the first was not begun")
        impatient = threading.Thread(target=ask_impatiently)
        impatient.start()
        wait_until(lambda: len(gathering._waiting) == 1, 10, "it does not wait")
        last = threads.submit(gathering, 3)
        wait_until(lambda: len(gathering._waiting) == 2, 10, "it does not wait")
        # it strikes when the thread next runs Python: when it is handed the lead
        assert impatient.ident is not None
        raise_thread_exception(impatient.ident, TimeIsUp)
        desk.go.set()
        assert first.result(10) == 10
        assert last.result(10) == 30
        impatient.join(10)
    assert ended == ["the impatient one"]
    assert gathering(4) == 40
