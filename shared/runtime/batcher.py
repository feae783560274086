"""Batches concurrent calls: while one batch runs, the next one collects."""

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Batcher(Generic[T, R]):
    """Calls `do` with batches of at most `most` items, one batch at a time, in the callers' threads.

    `do` gets a batch and returns a result, or the error to raise, for each item, in the same order. A batch never
    waits to fill: the first caller runs at once, alone, and the callers that arrive meanwhile form the next batch. If
    `do` raises, every caller of that batch gets the error.
    """

    def __init__(self, do: Callable[[Sequence[T]], Sequence[R | BaseException]], most: int) -> None:
        self._do = do
        self._most = most
        self._lock = threading.Lock()
        self._leader: _Call[T, R] | None = None
        self._waiting: list[_Call[T, R]] = []
        self._in_hand: list[_Call[T, R]] = []

    def __call__(self, item: T) -> R:
        """The result for `item`. Raises the error that `do` returned or raised."""
        ticket = _Call[T, R](item)
        try:
            with self._lock:
                self._waiting.append(ticket)
                self._leader = self._leader or ticket
                leads = self._leader is ticket
            if not leads:
                # until it is done, or its turn to lead
                ticket.turn.acquire()
            if ticket.outcome is None:
                self._lead()
        except BaseException as error:
            # a time limit strikes anywhere, also one that waits: nobody may wait for ever for this thread
            self._leave(ticket, error)
            raise
        assert ticket.outcome is not None
        return ticket.outcome.give()

    def _lead(self) -> None:
        """Do the next batch, of which the caller's is the first, and hand on the lead."""
        with self._lock:
            self._in_hand, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
            items = [ticket.item for ticket in self._in_hand]
        try:
            outcomes = self._do(items)
        except Exception as error:  # noqa: BLE001 - raised again for each whom it concerns
            with self._lock:
                self._fail(error)
                self._hand_on()
        else:
            with self._lock:
                self._tell(outcomes)
                self._hand_on()

    def _leave(self, ticket: "_Call[T, R]", error: BaseException) -> None:
        with self._lock:
            if ticket in self._waiting:
                self._waiting.remove(ticket)
            if self._leader is ticket:
                if self._in_hand:
                    self._fail(error)
                self._hand_on()

    def _fail(self, error: BaseException) -> None:
        """What this batch waited for in vain, those behind it would wait for too, one batch after the other."""
        self._in_hand, self._waiting = self._in_hand + self._waiting, []
        self._tell([error] * len(self._in_hand))

    def _tell(self, outcomes: Sequence[R | BaseException]) -> None:
        for ticket, outcome in zip(self._in_hand, outcomes, strict=True):
            ticket.outcome = _Outcome(outcome)
            if ticket is not self._leader:
                ticket.turn.release()
        self._in_hand = []

    def _hand_on(self) -> None:
        self._leader = self._waiting[0] if self._waiting else None
        if self._leader is not None:
            self._leader.turn.release()


class _Outcome(Generic[R]):
    def __init__(self, found: R | BaseException) -> None:
        self._found = found

    def give(self) -> R:
        if isinstance(self._found, BaseException):
            raise self._found
        return self._found


class _Call(Generic[T, R]):
    def __init__(self, item: T) -> None:
        self.item = item
        self.outcome: _Outcome[R] | None = None
        self.turn = threading.Lock()
        self.turn.acquire()
