"""Drains the spool into the database when it is available again, in order of arrival."""

import sqlite3
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import structlog
from psycopg2.errors import LockNotAvailable, QueryCanceled
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from services.webhook_gateway.errors import StorageUnavailableError
from services.webhook_gateway.inbox.accept import Receipt, insert_each_once
from services.webhook_gateway.inbox.postgres import ConnectionInbox
from services.webhook_gateway.inbox.spool import metrics
from services.webhook_gateway.inbox.spool.fallback_inbox import Presence, means_unavailable
from services.webhook_gateway.inbox.spool.spool import Spool, Spooled, Usage
from shared.runtime.database import connect_within
from shared.runtime.failpoints import failpoint
from shared.runtime.logs import describe
from shared.runtime.periodic_thread import PeriodicThread

log = structlog.get_logger(__name__)

POLL_SECONDS = 0.5
#: Events of one transaction: few enough that a live webhook with the same key does not wait long for it.
BATCH_SIZE = 100
#: How long a batch, or a search for the database, may take.
MAX_SECONDS = 10.0
#: How long a batch waits for a row that another session has written and not committed: then it is halved.
LOCK_SECONDS = 1
#: How long a batch waits for that of another gateway, and how often it checks; then it goes on all the same.
TURN_SECONDS, TURN_POLL_SECONDS = 1.0, 0.02

# What keeping an event needs: a row can be written to the table, and a commit reaches the disk and a synchronous
# standby. The row is taken back before the commit, which waits for both all the same since its transaction has written.
_PROBE = """
SAVEPOINT probe;
INSERT INTO webhook_events (id, provider, dedupe_key, state, body, body_sha256)
VALUES (-1, 'probe', gen_random_uuid()::text, 'ignored', '', '');
ROLLBACK TO SAVEPOINT probe
"""
_LIMIT = f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'"
_TURN = "SELECT pg_try_advisory_xact_lock(85950764077889)"


class Drain(PeriodicThread):
    """A thread of each gateway process. One of them at a time empties the spool. `wake` wakes the relay."""

    def __init__(self, engine: Engine, spool: Spool, presence: Presence, wake: Callable[[], None]) -> None:
        super().__init__("spool drain", self._drain, POLL_SECONDS)
        self._engine = engine
        self._spool = spool
        self._presence = presence
        self._wake_relay = wake
        self._complained = ""
        self._has_readmitted = False
        self._oldest_at: datetime | None = None
        self._moved_at = time.monotonic()
        #: Since when the database has answered each probe; None while it does not.
        self._there_since: float | None = time.monotonic()
        #: How many events wait for another session.
        self._postponed = 0

    @property
    def is_database_unavailable(self) -> bool:
        """Whether the last attempt to write to the database failed."""
        return self._presence.unavailable

    def undrained_seconds(self, usage: Usage) -> float:
        """How long the oldest event of the spool has stayed while the database was there; 0 with an empty spool."""
        if usage.oldest_at is None or usage.oldest_at != self._oldest_at:
            self._oldest_at, self._moved_at = usage.oldest_at, time.monotonic()
        if usage.oldest_at is None or self._there_since is None:
            return 0.0
        return time.monotonic() - max(self._moved_at, self._there_since)

    def stop(self, timeout_seconds: float = 5.0) -> None:
        """Finish the batch in hand; the rest stays for the next process."""
        super().stop(timeout_seconds)
        self._spool.close()

    def _drain(self) -> None:
        if not self._has_readmitted:
            self._has_readmitted = True
            self._readmit()
        try:
            self._round()
            if self._postponed:
                self._complain(f"{self._postponed} of its events wait for what another session has not committed")
            else:
                self._complained = ""
        except SQLAlchemyError as error:
            if means_unavailable(error):
                self._presence.lose(error)
            self._complain(describe(error))
        except (StorageUnavailableError, sqlite3.Error, OSError) as error:
            self._complain(describe(error))
        finally:
            metrics.DATABASE_UNAVAILABLE.set(self._presence.unavailable)

    def _round(self) -> None:
        if self._presence.unavailable:
            try:
                self._probe()
            except SQLAlchemyError:
                self._there_since = None
                # that the spool fills has to be seen while it does
                self._measure()
                raise
            self._there_since = self._there_since or time.monotonic()
            self._presence.find()
        self._postponed = 0
        if not self._measure().events:
            return
        with self._spool.alone() as is_alone:
            if not is_alone:
                return
            after = 0
            while not self.is_stopping and (batch := self._spool.oldest(BATCH_SIZE, after)):
                self._carry(batch)
                self._measure()
                # what was postponed stays, and holds up nothing
                after = batch[-1].number
            self._spool.compact()
        self._measure()

    def _probe(self) -> None:
        with connect_within(self._engine, MAX_SECONDS) as connection, connection.begin():
            connection.exec_driver_sql(_PROBE)

    def _carry(self, batch: Sequence[Spooled]) -> None:
        """Bring one batch: kept first, forgotten after. Who dies in between has brought it, and brings it again."""
        try:
            receipts = self._keep(batch)
        except (SQLAlchemyError, ValueError) as error:
            is_timeout = isinstance(error, DBAPIError) and isinstance(error.orig, QueryCanceled | LockNotAvailable)
            if is_timeout:
                # raises where it is the database that hangs, and no single event
                self._probe()
            elif isinstance(error, SQLAlchemyError) and means_unavailable(error):
                raise
            if len(batch) == 1:
                if is_timeout:
                    self._postponed += 1
                else:
                    self._refuse(batch[0], error)
                return
            # what it does not take is in one of the halves; so is what a live webhook, with the same keys, waited for
            middle = len(batch) // 2
            self._carry(batch[:middle])
            self._carry(batch[middle:])
            return
        failpoint("drain.after_commit")
        self._spool.remove([spooled.number for spooled in batch])
        for receipt in receipts:
            metrics.DRAINED.labels(receipt.status).inc()
        self._wake_relay()

    def _keep(self, batch: Sequence[Spooled]) -> Sequence[Receipt]:
        with connect_within(self._engine, MAX_SECONDS) as connection, connection.begin():
            connection.exec_driver_sql(_LIMIT)
            self._wait_for_turn(connection)
            return insert_each_once([spooled.entry for spooled in batch], ConnectionInbox(connection))

    def _wait_for_turn(self, connection: Connection) -> None:
        """Let gateways drain by turns. What was sent to two of them came in another order to each, and batches in order
        of arrival would wait for each other; one that goes on beside a gateway that hangs risks no more than that."""
        latest = time.monotonic() + TURN_SECONDS
        while not connection.exec_driver_sql(_TURN).scalar_one() and time.monotonic() < latest:
            self.pause(TURN_POLL_SECONDS)

    def _refuse(self, spooled: Spooled, error: Exception) -> None:
        log.error(
            "the database does not take a spooled event; it is put aside in the spool until the next start",
            number=spooled.number,
            provider=spooled.entry.provider,
            error=describe(error),
        )
        self._spool.refuse(spooled.number)

    def _readmit(self) -> None:
        with self._spool.alone() as is_alone:
            if is_alone and (count := self._spool.readmit()):
                log.info("events that were put aside are tried again", count=count)

    def _measure(self) -> Usage:
        usage = self._spool.usage()
        self.undrained_seconds(usage)
        age_seconds = (datetime.now(UTC) - usage.oldest_at).total_seconds() if usage.oldest_at else 0.0
        metrics.SPOOL_EVENTS.set(usage.events)
        metrics.SPOOL_BYTES.set(usage.bytes)
        metrics.SPOOL_LIMIT_BYTES.set(self._spool.max_bytes)
        metrics.SPOOL_REFUSED.set(usage.refused)
        metrics.SPOOL_OLDEST_AGE_SECONDS.set(max(0.0, age_seconds))
        return usage

    def _complain(self, fault: str) -> None:
        """Say each fault once, not twice a second; an absence was reported already."""
        if fault != self._complained and not self._presence.unavailable:
            log.warning("the spool was not drained, trying again", error=fault)
        self._complained = fault
