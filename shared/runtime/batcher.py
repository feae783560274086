"""Batches concurrent calls: while one batch runs, the next one collects.

A thread of its own runs the batches. dramatiq's time limits raise exceptions in the threads of callers, at any line;
a caller shares nothing with others but a queue, so whatever ends it keeps nobody from their turn.
"""

import threading
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

#: How soon a caller finds that the thread has ended, which nothing is known to do.
WAKE_SECONDS = 5.0

T = TypeVar("T")
R = TypeVar("R")


class BatchLostError(Exception):
    """The thread that runs the batches was interrupted; whether this call's batch was done is unknown."""


class Batcher(Generic[T, R]):
    """Runs calls in batches of at most `most`, one batch at a time.

    `do` gets a batch and returns a result, or the error to raise, for each item, in the same order. A batch never
    waits to fill: the first caller runs at once, alone, and the callers that arrive meanwhile form the next batch. If
    `do` raises, every caller that waits at that moment gets the error. Call it after the fork.
    """

    def __init__(self, do: Callable[[Sequence[T]], Sequence[R | BaseException]], most: int) -> None:
        self._do = do
        self._most = most
        self._arrived: SimpleQueue[_Call[T, R] | None] = SimpleQueue()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        # ends the thread, which holds no reference to this object
        weakref.finalize(self, self._arrived.put, None)

    @property
    def waiting(self) -> int:
        """Calls that no batch has taken up yet."""
        return self._arrived.qsize()

    def __call__(self, item: T) -> R:
        """The result for `item`. Raises what `do` returns for it, or raises itself."""
        (outcome,) = self.each([item])
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def each(self, items: Sequence[T]) -> Sequence[R | BaseException]:
        """The result or the error of each of `items`, which share batches with other callers' as if they came alone."""
        calls = [_Call[T, R](item) for item in items]
        for call in calls:
            self._arrived.put(call)
        return [self._wait(call) for call in calls]

    def _wait(self, call: "_Call[T, R]") -> R | BaseException:
        while True:
            self._have_thread()
            with suppress(Empty):
                return call.outcome.get(timeout=WAKE_SECONDS)

    def _have_thread(self) -> None:
        if self._thread is not None and self._thread.is_alive():
            return
        with self._starting:
            if self._thread is None or not self._thread.is_alive():
                arguments = (self._arrived, self._do, self._most)
                self._thread = threading.Thread(target=_serve, args=arguments, name="batches", daemon=True)
                self._thread.start()


class _Call(Generic[T, R]):
    """One call on its way."""

    def __init__(self, item: T) -> None:
        self.item = item
        #: What became of it: the first one counts.
        self.outcome: SimpleQueue[R | BaseException] = SimpleQueue()


def _serve(
    arrived: "SimpleQueue[_Call[T, R] | None]",
    do: Callable[[Sequence[T]], Sequence[R | BaseException]],
    most: int,
) -> None:
    calls: list[_Call[T, R] | None] = []
    over: list[bool] = []
    while not over:
        # whatever it is, the calls that come next are served
        with suppress(BaseException):
            _round(arrived, do, most, calls, over)


def _round(
    arrived: "SimpleQueue[_Call[T, R] | None]",
    do: Callable[[Sequence[T]], Sequence[R | BaseException]],
    most: int,
    calls: "list[_Call[T, R] | None]",
    over: list[bool],
) -> None:
    """Run one batch. `calls` holds those of a round that was interrupted."""
    for call in calls:
        if call is None:
            # the end, taken up by the round that was interrupted
            over.append(True)
        else:
            call.outcome.put(BatchLostError("The batch was interrupted; try again."))
    calls.clear()
    if over:
        return
    _take(arrived, most, calls, over)
    if not calls:
        return
    try:
        outcomes = do([call.item for call in calls if call is not None])
    except BaseException as error:  # noqa: BLE001 - raised again for each whom it concerns
        # what this batch waited for in vain, those behind it would wait for too, one batch after the other
        while arrived.qsize() and not over:
            _take(arrived, most, calls, over)
        outcomes = [error] * len(calls)
    for call, outcome in zip(calls, outcomes, strict=True):
        assert call is not None, "taken out where it was taken up"
        call.outcome.put(outcome)
    calls.clear()


def _take(
    arrived: "SimpleQueue[_Call[T, R] | None]", most: int, calls: "list[_Call[T, R] | None]", over: list[bool]
) -> None:
    """Wait for a call, and add it and those behind it to `calls`, `most` at most."""
    end = len(calls) + most
    calls.append(arrived.get())
    with suppress(Empty):
        while calls[-1] is not None and len(calls) < end:
            calls.append(arrived.get_nowait())
    if calls[-1] is None:
        calls.pop()
        over.append(True)
