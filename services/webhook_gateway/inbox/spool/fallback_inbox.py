"""The inbox with a fallback: the database if it is available, else the spool."""

import threading
from dataclasses import replace
from datetime import UTC, datetime

import structlog
from sqlalchemy.exc import DBAPIError, InterfaceError, InternalError, OperationalError, SQLAlchemyError, TimeoutError

from services.webhook_gateway.inbox.accept import Inbox, InsertResult, WebhookEvent
from services.webhook_gateway.inbox.postgres import is_deadlock
from services.webhook_gateway.inbox.spool import metrics
from services.webhook_gateway.inbox.spool.spool import Spool
from shared.runtime.logs import describe

log = structlog.get_logger(__name__)


class Presence:
    """What this process knows about the database: after a fault nobody asks it but the drain, until it answers.

    So one request finds out that it is away, and those after it are answered from the spool in milliseconds.
    """

    def __init__(self) -> None:
        self.unavailable = False
        #: Set when the database was found away, so that the thread that polls it begins.
        self.lost = threading.Event()

    def lose(self, error: SQLAlchemyError) -> None:
        """Say that the database is away."""
        if not self.unavailable:
            self.unavailable = True
            log.warning("postgresql is away; webhooks are spooled", error=describe(error))
        self.lost.set()

    def find(self) -> None:
        """Say that it is back."""
        if self.unavailable:
            log.info("postgresql is back")
        self.lost.clear()
        self.unavailable = False


class SpoolingInbox:
    """Implements `Inbox`. What is spooled twice, or was committed by an attempt whose answer was lost, is kept once:
    the drain keeps it by the same key."""

    def __init__(self, inbox: Inbox, spool: Spool, presence: Presence) -> None:
        self._inbox = inbox
        self._spool = spool
        self._presence = presence

    def keep(self, entry: WebhookEvent) -> InsertResult:
        """Raises StorageUnavailableError where the spool cannot take it either, and what is no sign of absence as
        it came.
        """
        if not self._presence.unavailable:
            try:
                return self._inbox.keep(entry)
            except SQLAlchemyError as error:
                if not means_unavailable(error):
                    raise
                self._presence.lose(error)
        is_new = self._spool.append(replace(entry, received_at=datetime.now(UTC)))
        metrics.SPOOLED.inc(is_new)
        return InsertResult(None, is_new, entry.body_sha256)


def means_unavailable(error: SQLAlchemyError) -> bool:
    """Whether another try, later, may help: no connection, none free, a lock, a full disk, a standby; not bad data."""
    if isinstance(error, DBAPIError) and is_deadlock(error):
        return False
    if isinstance(error, TimeoutError | OperationalError | InterfaceError | InternalError):
        return True
    return isinstance(error, DBAPIError) and error.connection_invalidated
