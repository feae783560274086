"""What arrives together is done together, and nobody waits for a batch to fill."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from dramatiq.threading import raise_thread_exception

from shared.runtime.batcher import Batcher
from tests.waiting import wait_until


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
