"""Integrity monitor: threads of the payments worker that seal new rows and check the invariants every minute.

For each of the two duties one worker is elected: the one that holds a lock of the database.
"""

import time
from dataclasses import dataclass

import structlog
from prometheus_client import Gauge
from sqlalchemy import Connection

from services.webhook_gateway.integrity.hash_chain import BATCH_SIZE, HashChainWriter, read_head
from services.webhook_gateway.integrity.invariant_checker import Findings, InvariantChecker
from services.webhook_gateway.integrity.invariants import Invariant
from shared.runtime.database import build_engine
from shared.runtime.periodic_thread import PeriodicThread

log = structlog.get_logger(__name__)

#: Any numbers that no other lock of ours has.
LOCK = 0x4E4F554257
SEALING_LOCK = 0x4E4F554258
SEAL_EVERY_SECONDS = 2.0
#: The first scan is at the whole ledger.
MAX_STATEMENT_MS = 10 * 60_000
#: Rows of a log line; the metric has their number.
MAX_NAMED = 20

VIOLATIONS = Gauge(
    "nouba_invariant_violations", "Rows that break an invariant; 0 is the only good value.", ["invariant"]
)
DRIFT = Gauge("nouba_ledger_drift_minor", "How far balances and transactions are off, all differences together.")
LAST_CHECK = Gauge(
    "nouba_invariant_last_check_timestamp_seconds",
    "When the invariants were last checked; 0 in a worker that is not the leader.",
)
UNSETTLED = Gauge("nouba_webhook_events_unsettled", "Events that are not final yet.")
UNSETTLED_AGE = Gauge(
    "nouba_webhook_events_unsettled_oldest_age_seconds",
    "Age of the oldest event that no worker has tried; 0 without one.",
)
CHAIN_ROWS = Gauge("nouba_integrity_chain_rows", "Rows of inbox and ledger in the hash chain.")


@dataclass(frozen=True, slots=True)
class MonitorSettings:
    """How often the invariants are checked, and how old an event may become before a worker tries it."""

    check_every_seconds: float = 60.0
    settle_seconds: float = 300.0


class IntegrityMonitor:
    """Two threads: one seals rows, one checks the invariants. Each has its own connection, so a check that takes
    minutes delays no seal."""

    def __init__(self, database_url: str, settings: MonitorSettings) -> None:
        self._threads = (Sealing(database_url), InvariantWatch(database_url, settings))

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self, timeout_seconds: float = 5.0) -> None:
        """Go off duty after the batch in hand; another worker's threads take over."""
        for thread in self._threads:
            thread.request_stop()
        for thread in self._threads:
            thread.stop(timeout_seconds)


class ElectedThread(PeriodicThread):
    """A duty of which one worker at a time is in charge: the one that holds a lock, which goes with its connection."""

    def __init__(self, name: str, database_url: str, lock: int, every_seconds: float) -> None:
        super().__init__(
            name, self._run_if_elected, every_seconds, at_once=True, late_after_seconds=2 * MAX_STATEMENT_MS / 1000
        )
        self._engine = build_engine(
            database_url, pool_size=1, application=f"nouba {name}", statement_timeout_ms=MAX_STATEMENT_MS
        )
        self._lock = lock
        self._connection: Connection | None = None

    def stop(self, timeout_seconds: float = 5.0) -> None:
        super().stop(timeout_seconds)
        if not self.is_alive:
            self._resign()

    def begin(self, connection: Connection) -> None:
        """Called once when this worker is elected."""
        raise NotImplementedError

    def work(self, connection: Connection) -> bool:
        """One round; return whether there is more to do at once."""
        raise NotImplementedError

    def off_duty(self) -> None:
        """Called when this worker is not in charge any more, or not yet."""

    def _run_if_elected(self) -> bool:
        try:
            if self._connection is None and not self._stand():
                self.off_duty()
                return False
            assert self._connection is not None
            return self.work(self._connection)
        except BaseException:
            self._resign()
            raise

    def _stand(self) -> bool:
        connection = self._engine.connect()
        try:
            with connection.begin():
                if not connection.exec_driver_sql("SELECT pg_try_advisory_lock(%s)", (self._lock,)).scalar_one():
                    connection.close()
                    return False
            self.begin(connection)
        except BaseException:
            connection.invalidate()
            connection.close()
            raise
        self._connection = connection
        return True

    def _resign(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            # not back into the pool: the lock would stay with it
            connection.invalidate()
            connection.close()
        self.off_duty()


class Sealing(ElectedThread):
    """Seals new rows of inbox and ledger."""

    def __init__(self, database_url: str) -> None:
        super().__init__("sealing", database_url, SEALING_LOCK, SEAL_EVERY_SECONDS)
        self._sealer: HashChainWriter | None = None

    def begin(self, connection: Connection) -> None:
        self._sealer = HashChainWriter(connection)
        log.info("sealing")

    def work(self, connection: Connection) -> bool:
        assert self._sealer is not None, "begun"
        more = self._sealer.seal() >= BATCH_SIZE
        with connection.begin():
            CHAIN_ROWS.set(read_head(connection).position)
        return more

    def off_duty(self) -> None:
        """What is sealed is the next one's to show; two workers must not be counted together."""
        CHAIN_ROWS.set(0)


class InvariantWatch(ElectedThread):
    """Checks the invariants and exports what is broken."""

    def __init__(self, database_url: str, settings: MonitorSettings) -> None:
        every_seconds = min(SEAL_EVERY_SECONDS, settings.check_every_seconds)
        super().__init__("invariants", database_url, LOCK, every_seconds)
        self._settings = settings
        self._checked_at = float("-inf")
        self._checker: InvariantChecker | None = None
        self._named: dict[Invariant, set[int]] = {}

    def begin(self, connection: Connection) -> None:
        self._checker = InvariantChecker(connection, self._settings.settle_seconds)
        self._checked_at = float("-inf")
        log.info("on watch")

    def work(self, connection: Connection) -> bool:
        assert self._checker is not None, "begun"
        if time.monotonic() - self._checked_at >= self._settings.check_every_seconds:
            self._checked_at = time.monotonic()
            self._publish(self._checker.check())
        return False

    def _publish(self, findings: Findings) -> None:
        for invariant, broken in findings.broken.items():
            VIOLATIONS.labels(invariant).set(len(broken))
            ids = {row.id for row in broken}
            if ids - self._named.get(invariant, set()):
                named = sorted(ids)[:MAX_NAMED]
                difference_minor = sum(row.difference_minor for row in broken)
                log.error(
                    "invariant broken",
                    invariant=invariant,
                    ids=named,
                    count=len(ids),
                    difference_minor=difference_minor,
                )
            self._named[invariant] = ids
        DRIFT.set(findings.drift_minor)
        UNSETTLED.set(findings.unsettled)
        UNSETTLED_AGE.set(findings.oldest_unsettled_seconds)
        LAST_CHECK.set(time.time())

    def off_duty(self) -> None:
        """What was found is the next watch's to show; two workers must not be counted together."""
        for invariant in Invariant:
            VIOLATIONS.labels(invariant).set(0)
        for gauge in (DRIFT, UNSETTLED, UNSETTLED_AGE, LAST_CHECK):
            gauge.set(0)
