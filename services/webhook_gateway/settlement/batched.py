"""Settles concurrent events in one transaction."""

from collections.abc import Sequence
from enum import Enum
from typing import Final

import structlog

from services.webhook_gateway.settlement.settle import Settlement, Understood
from services.webhook_gateway.settlement.unit_of_work import SettlementResult
from shared.runtime.batcher import Batcher
from shared.runtime.logs import describe

#: Events of one transaction: few enough that what they lock is free again within milliseconds.
LARGEST_BATCH: Final = 100
#: How long a batch waits for a lock that the school's own application holds: all in it wait along.
LONGEST_LOCK_MS: Final = 1000

log = structlog.get_logger(__name__)


class _Left(Enum):
    ALONE = "to be settled alone"


class BatchedSettlement:
    """Settles the events of many threads: while one batch is written, the next one gathers.

    Where a batch fails, each thread settles its own event with `alone`: one that cannot be settled, or has to wait for
    a lock, keeps no other from its money. `hurried` has to give up such a wait soon.
    """

    def __init__(self, hurried: Settlement, alone: Settlement) -> None:
        self._hurried = hurried
        self._alone = alone
        self._book = Batcher(self._try, LARGEST_BATCH)

    def settle(self, event_id: int) -> SettlementResult | None:
        """See `Settlement.settle`."""
        understood = self._hurried.understand(event_id)
        if understood is None:
            return None
        outcome = self._book(understood)
        return self._alone.book(understood) if outcome is _Left.ALONE else outcome

    def postpone(self, event_id: int, reason: str) -> SettlementResult | None:
        """See `Settlement.postpone`."""
        return self._alone.postpone(event_id, reason)

    def _try(self, batch: Sequence[Understood]) -> Sequence[SettlementResult | _Left | BaseException | None]:
        try:
            return self._hurried.book_all(batch)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is raised again for the event that it is about
            log.warning("not settled together; each is tried alone", events=len(batch), error=describe(error))
            return [_Left.ALONE] * len(batch)
