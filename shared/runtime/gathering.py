"""Lets what arrives together be done together: while one batch is on its way, the next one gathers."""

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Gathering(Generic[T, R]):
    """Does single things in batches of at most `most`, one batch at a time, in the threads of those who ask.

    `do` gets a batch and gives a result, or the error to raise, for each of it, in the same order. Nobody waits for a
    batch to fill: whoever comes first goes at once, alone, and those who come meanwhile go together after it. Where
    `do` raises, all who wait at that moment fail with the batch.
    """

    def __init__(self, do: Callable[[Sequence[T]], Sequence[R | BaseException]], most: int) -> None:
        self._do = do
        self._most = most
        self._lock = threading.Lock()
        self._is_busy = False
        self._waiting: list[_Ticket[T, R]] = []

    def __call__(self, item: T) -> R:
        """The result for `item`. Raises what `do` says, or raises itself."""
        ticket = _Ticket[T, R](item)
        with self._lock:
            self._waiting.append(ticket)
            leads, self._is_busy = not self._is_busy, True
        if not leads:
            # until it is done, or its turn to lead
            ticket.turn.acquire()
        if ticket.outcome is None:
            self._lead()
        assert ticket.outcome is not None
        return ticket.outcome.give()

    def _lead(self) -> None:
        """Do the next batch, of which the caller's is the first, and hand on the lead."""
        with self._lock:
            batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
        outcomes: Sequence[R | BaseException] = []
        try:
            outcomes = self._do([ticket.item for ticket in batch])
        except BaseException as error:
            with self._lock:
                # what this one waited for in vain, those behind it would wait for too, one batch after the other
                batch, self._waiting = batch + self._waiting, []
            outcomes = [error] * len(batch)
            if not isinstance(error, Exception):
                raise
        finally:
            for ticket, outcome in zip(batch, outcomes, strict=True):
                ticket.outcome = _Outcome(outcome)
            with self._lock:
                if self._waiting:
                    self._waiting[0].turn.release()
                else:
                    self._is_busy = False
            for ticket in batch[1:]:
                ticket.turn.release()


class _Outcome(Generic[R]):
    def __init__(self, found: R | BaseException) -> None:
        self._found = found

    def give(self) -> R:
        if isinstance(self._found, BaseException):
            raise self._found
        return self._found


class _Ticket(Generic[T, R]):
    def __init__(self, item: T) -> None:
        self.item = item
        self.outcome: _Outcome[R] | None = None
        self.turn = threading.Lock()
        self.turn.acquire()
