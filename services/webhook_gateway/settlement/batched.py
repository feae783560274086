"""Settles concurrent events in one transaction."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from functools import partial
from typing import Final, Literal

import structlog

from services.webhook_gateway.payments.model import Event
from services.webhook_gateway.settlement.settle import Settlement, Understood
from services.webhook_gateway.settlement.settlement_store import SettlementResult
from shared.runtime.batcher import Batcher
from shared.runtime.failpoints import failpoint
from shared.runtime.logs import describe

#: Events of one transaction: few enough that what they lock is free again within milliseconds.
LARGEST_BATCH: Final = 100
#: How long a batch waits for a lock that the school's own application holds: all in it wait along.
MAX_LOCK_MS: Final = 1000
#: Messages whose events are read by one statement.
LARGEST_READ: Final = 64

log = structlog.get_logger(__name__)


class _Left(Enum):
    ALONE = "to be settled alone"


class BatchedSettlement:
    """Settles the events of many messages: while one batch is written, the next one gathers.

    `together` settles a batch, on a connection of its own. Where a batch fails, each of its events is settled alone:
    one that cannot be settled, or has to wait for a lock, keeps no other from its money. `together` and `short_wait`
    give up a lock within MAX_LOCK_MS; `long_wait` waits for it, once all others are done. `read` finds many events at
    once; messages that arrive together are read together.
    """

    def __init__(
        self,
        together: Settlement,
        short_wait: Settlement,
        long_wait: Settlement,
        read: Callable[[Sequence[int]], Sequence[Event | None]],
    ) -> None:
        self._together = together
        self._short_wait = short_wait
        self._long_wait = long_wait
        self._read: Batcher[Sequence[int], Sequence[Event | None] | Literal[_Left.ALONE]] = Batcher(
            partial(_read_each, read), LARGEST_READ
        )
        self._book = Batcher(self._try, LARGEST_BATCH)

    @property
    def waiting_to_be_read(self) -> int:
        """Messages that no read has taken up yet."""
        return self._read.waiting

    def settle(self, event_ids: Sequence[int]) -> Mapping[int, SettlementResult]:
        """What became of each event; those that were settled before are left out.

        An event that cannot be settled for a fault of our own waits for its next attempt. Raises where not even that
        can be written down.
        """
        understood = []
        verdicts: dict[int, SettlementResult | None] = {}
        events = self._find(event_ids)
        failpoint("batch.after_read")
        for event_id, event in zip(event_ids, events, strict=True):
            if event is None:
                continue
            try:
                understood.append(self._short_wait.read_notice(event))
            except Exception as error:  # noqa: BLE001 - it is logged, and the event waits for its next attempt
                verdicts[event_id] = self._postpone(event_id, error)
        left = []
        for one, outcome in zip(understood, self._book.each(understood), strict=True):
            if isinstance(outcome, BaseException):
                raise outcome
            if outcome is _Left.ALONE:
                left.append(one)
            else:
                verdicts[one.event.id] = outcome
        verdicts.update(self._book_each(left))
        return {event_id: verdict for event_id, verdict in verdicts.items() if verdict is not None}

    def _book_each(self, left: Sequence[Understood]) -> Iterator[tuple[int, SettlementResult | None]]:
        failed = []
        for one in left:
            failpoint("batch.before_alone")
            try:
                yield one.event.id, self._short_wait.book(one)
            except Exception as error:  # noqa: BLE001 - it is tried once more
                log.info("not settled at once", event_id=one.event.id, error=describe(error))
                failed.append(one)
        for one in failed:
            try:
                verdict = self._long_wait.book(one)
            except Exception as error:  # noqa: BLE001 - it is logged, and the event waits for its next attempt
                verdict = self._postpone(one.event.id, error)
            yield one.event.id, verdict

    def _postpone(self, event_id: int, error: Exception) -> SettlementResult | None:
        log.error("webhook not settled", event_id=event_id, exc_info=error)
        return self._long_wait.postpone(event_id, describe(error))

    def _try(self, batch: Sequence[Understood]) -> Sequence[SettlementResult | _Left | BaseException | None]:
        try:
            return self._together.book_all(batch)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is raised again for the event that it is about
            log.warning("not settled together; each is tried alone", events=len(batch), error=describe(error))
            return [_Left.ALONE] * len(batch)

    def _find(self, event_ids: Sequence[int]) -> Sequence[Event | None]:
        found = self._read(event_ids)
        return [self._long_wait.read(event_id) for event_id in event_ids] if found is _Left.ALONE else found


def _read_each(
    read: Callable[[Sequence[int]], Sequence[Event | None]], messages: Sequence[Sequence[int]]
) -> Sequence[Sequence[Event | None] | Literal[_Left.ALONE]]:
    """The events of each message."""
    try:
        found = iter(read([event_id for event_ids in messages for event_id in event_ids]))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is raised again for the message that it is about
        log.info("not read together; each is read alone", messages=len(messages), error=describe(error))
        return [_Left.ALONE] * len(messages)
    return [[next(found) for _ in event_ids] for event_ids in messages]
