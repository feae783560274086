"""What arrives together is done together, and nobody waits for a batch to fill."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import CodeType, FrameType
from typing import Any

import pytest
from dramatiq.threading import raise_thread_exception

from shared.runtime import batcher
from shared.runtime.batcher import Batcher, BatchLostError
from tests.waiting import wait_until


class Recorder:
    """Does a batch when it may go, and records it."""

    def __init__(self) -> None:
        self.batches: list[Sequence[int]] = []
        self.go = threading.Event()

    def do(self, batch: Sequence[int]) -> Sequence[int | BaseException]:
        self.batches.append(batch)
        assert self.go.wait(10)
        if 13 in batch:
            raise ZeroDivisionError
        return [KeyError(item) if item < 0 else item * 10 for item in batch]


def ask_while_the_first_is_done(recorder: Recorder, items: Sequence[int], most: int = 100) -> list[int | BaseException]:
    """The answers to 1, which is done first, and to `items`, which arrive meanwhile in this order."""
    run_batched = Batcher(recorder.do, most)

    def ask(item: int) -> int | BaseException:
        try:
            return run_batched(item)
        except (KeyError, ZeroDivisionError) as error:
            return error

    with ThreadPoolExecutor(len(items) + 1) as threads:
        answers = []
        for number, item in enumerate([1, *items]):
            answers.append(threads.submit(ask, item))
            wait_until(lambda: bool(recorder.batches), 10, "the first was not begun")
            wait_until(lambda number=number: run_batched.waiting == number, 10, "it does not wait")  # type: ignore[misc]
        recorder.go.set()
        return [answer.result(10) for answer in answers]


def test_the_first_goes_alone_and_those_that_come_meanwhile_go_together() -> None:
    recorder = Recorder()
    assert ask_while_the_first_is_done(recorder, [2, 3, 4]) == [10, 20, 30, 40]
    assert recorder.batches == [[1], [2, 3, 4]]


def test_a_batch_has_a_largest_size() -> None:
    recorder = Recorder()
    assert ask_while_the_first_is_done(recorder, [2, 3, 4, 5, 6], most=2) == [10, 20, 30, 40, 50, 60]
    assert recorder.batches == [[1], [2, 3], [4, 5], [6]]


def test_one_that_cannot_be_done_spoils_no_other() -> None:
    first, second, bad = ask_while_the_first_is_done(Recorder(), [2, -3])
    assert (first, second) == (10, 20)
    assert isinstance(bad, KeyError)


def test_what_a_batch_waited_for_in_vain_nobody_behind_it_waits_for_again() -> None:
    recorder = Recorder()
    first, *failed = ask_while_the_first_is_done(recorder, [2, 13, 4, 5, 6], most=2)
    assert first == 10
    assert [type(one) for one in failed] == [ZeroDivisionError] * 5
    # the first, and the one that failed
    assert len(recorder.batches) == 2


def test_after_a_rest_it_begins_again() -> None:
    recorder = Recorder()
    recorder.go.set()
    run_batched = Batcher(recorder.do, 10)
    with pytest.raises(ZeroDivisionError):
        run_batched(13)
    assert [run_batched(1), run_batched(2)] == [10, 20]


class TimeIsUp(BaseException):
    """What dramatiq's time limit does to a thread, wherever it is."""


def test_one_whose_time_is_up_while_it_waits_keeps_nobody_from_their_turn() -> None:
    recorder = Recorder()
    run_batched = Batcher(recorder.do, 1)
    ended: list[str] = []

    def ask_impatiently() -> None:
        try:
            run_batched(2)
        except TimeIsUp:
            ended.append("the impatient one")

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(run_batched, 1)
        wait_until(lambda: bool(recorder.batches), 10, "the first was not begun")
        impatient = threading.Thread(target=ask_impatiently)
        impatient.start()
        wait_until(lambda: run_batched.waiting == 1, 10, "it does not wait")
        last = threads.submit(run_batched, 3)
        wait_until(lambda: run_batched.waiting == 2, 10, "it does not wait")
        # it strikes when the thread next runs Python: when it is handed the lead
        assert impatient.ident is not None
        raise_thread_exception(impatient.ident, TimeIsUp)  # type: ignore[no-untyped-call]
        recorder.go.set()
        assert first.result(10) == 10
        assert last.result(10) == 30
        impatient.join(10)
    assert ended == ["the impatient one"]
    assert run_batched(4) == 40


def _lines_of(*functions: Any) -> list[tuple[CodeType, int]]:
    return sorted(
        {
            (function.__code__, line)
            for function in functions
            for _, _, line in function.__code__.co_lines()
            if line is not None and line != function.__code__.co_firstlineno
        },
        key=lambda place: place[1],
    )


#: What runs in the callers' threads and in the batches' thread. The loop around the latter is left out: it is reported
#: apart by the thread's end, which `test_a_thread_that_ended_is_started_again` has.
CALLERS = _lines_of(Batcher.__call__, batcher._Call.__init__)
BATCHES = _lines_of(batcher._round, batcher._take)


@pytest.mark.parametrize(("code", "line"), CALLERS + BATCHES, ids=lambda place: getattr(place, "co_name", str(place)))
def test_an_exception_at_any_line_costs_only_those_whom_it_strikes(code: CodeType, line: int) -> None:
    # Given an exception that strikes once, at this line, in whichever thread comes there first
    struck = threading.Event()

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        if frame.f_code is not code:
            return None
        if event == "line" and frame.f_lineno == line and not struck.is_set():
            struck.set()
            raise TimeIsUp
        return trace

    run_batched = Batcher[int, int](lambda batch: [KeyError(item) if item == 7 else item * 10 for item in batch], 3)

    def ask(item: int) -> object:
        try:
            return run_batched(item)
        except (KeyError, BatchLostError, TimeIsUp) as error:
            return type(error)

    before = threading.gettrace()
    threading.settrace(trace)
    try:
        answers: list[list[object]] = []

        def ask_some(first: int) -> None:
            answers.append([ask(item) for item in range(first, first + 4)])

        # no pool: its own threads would swallow what strikes
        threads = [threading.Thread(target=ask_some, args=(first,), daemon=True) for first in (0, 4, 8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
    finally:
        threading.settrace(before)

    # Then nobody waits for ever, most have their answers, and the next is served
    assert not any(thread.is_alive() for thread in threads), f"stuck after line {line}"
    reported = [answer for some in answers for answer in some]
    assert len(reported) == 12
    assert reported.count(TimeIsUp) + reported.count(BatchLostError) <= 4
    assert {answer for answer in reported if isinstance(answer, int)} <= {item * 10 for item in range(12) if item != 7}
    assert run_batched(1) == 10


def test_a_thread_that_ended_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a batcher whose thread ends with a call in hand
    run_batched = Batcher[int, int](lambda batch: [item * 10 for item in batch], 3)
    with monkeypatch.context() as patch:
        patch.setattr(batcher, "_serve", lambda *_: None)
        patch.setattr(batcher, "WAKE_SECONDS", 0.1)
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(run_batched, 1)
            wait_until(lambda: run_batched._thread is not None)
            patch.undo()
            assert waiting.result(20) == 10


def test_a_batcher_that_nobody_holds_leaves_no_thread() -> None:
    run_batched = Batcher[int, int](lambda batch: batch, 3)
    run_batched(1)
    thread = run_batched._thread
    assert thread is not None
    del run_batched
    wait_until(lambda: not thread.is_alive())


def test_many_items_of_one_caller_share_batches_of_the_largest_size() -> None:
    recorder = Recorder()
    recorder.go.set()
    answers = Batcher(recorder.do, 2).each([1, -1, 3])
    assert [answers[0], type(answers[1]), answers[2]] == [10, KeyError, 30]
    assert sorted(item for batch in recorder.batches for item in batch) == [-1, 1, 3]
    assert max(len(batch) for batch in recorder.batches) <= 2
