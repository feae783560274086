"""The watch: a thread of the payments worker that seals what is new and looks at the invariants every minute.

Of all workers' watches one is on duty: the one that holds a lock of the database, which goes with its connection.
"""

import threading
import time
from dataclasses import dataclass

import structlog
from prometheus_client import Gauge
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from services.webhook_gateway.integrity.hash_chain import BATCH_SIZE, HashChainWriter, read_head
from services.webhook_gateway.integrity.invariant_checker import Findings, InvariantChecker
from services.webhook_gateway.integrity.invariants import Invariant
from shared.runtime.database import build_engine
from shared.runtime.logs import describe

log = structlog.get_logger(__name__)

#: Any number that no other lock of ours has.
LOCK = 0x4E4F554257
SEAL_EVERY_SECONDS = 2.0
#: The first look is at the whole ledger.
LONGEST_STATEMENT_MS = 10 * 60_000
#: Rows of a log line; the metric has their number.
MOST_NAMED = 20

VIOLATIONS = Gauge(
    "nouba_invariant_violations", "Rows that break an invariant; 0 is the only good value.", ["invariant"]
)
DRIFT = Gauge("nouba_ledger_drift_minor", "How far balances and transactions are off, all differences together.")
LAST_CHECK = Gauge(
    "nouba_invariant_last_check_timestamp_seconds",
    "When the invariants were last looked at; 0 in a worker that is not on duty.",
)
UNSETTLED = Gauge("nouba_events_unsettled", "Events that are not final yet.")
UNSETTLED_AGE = Gauge(
    "nouba_events_unsettled_oldest_age_seconds", "Age of the oldest event that no worker has tried; 0 without one."
)
SEALS = Gauge("nouba_seals", "Rows of inbox and ledger that the chain of seals binds.")


@dataclass(frozen=True, slots=True)
class MonitorSettings:
    """How often the invariants are looked at, and how old an event may become before a worker tries it."""

    look_every_seconds: float = 60.0
    settle_seconds: float = 300.0


class IntegrityMonitor:
    """Begins to watch as soon as no other does."""

    def __init__(self, database_url: str, duties: MonitorSettings) -> None:
        self._engine = build_engine(
            database_url, pool_size=1, application="nouba watch", statement_timeout_ms=LONGEST_STATEMENT_MS
        )
        self._duties = duties
        self._named: dict[Invariant, set[int]] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_seconds: float = 5.0) -> None:
        """Go off duty after the batch in hand; another worker's watch takes over."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout_seconds)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                with self._engine.connect() as connection:
                    try:
                        self._take_duty(connection)
                    finally:
                        # not back into the pool: the lock would stay with it
                        connection.invalidate()
            except SQLAlchemyError as error:
                log.warning("the watch was interrupted, trying again", error=describe(error))
            except Exception:
                log.exception("the watch failed, trying again")
            self._show_off_duty()
            self._stopping.wait(SEAL_EVERY_SECONDS)

    def _take_duty(self, connection: Connection) -> None:
        with connection.begin():
            if not connection.exec_driver_sql("SELECT pg_try_advisory_lock(%s)", (LOCK,)).scalar_one():
                return
        sealer, look = HashChainWriter(connection), InvariantChecker(connection, self._duties.settle_seconds)
        looked_at = -self._duties.look_every_seconds
        log.info("on watch")
        while not self._stopping.is_set():
            more = sealer.seal() >= BATCH_SIZE
            if time.monotonic() - looked_at >= self._duties.look_every_seconds:
                looked_at = time.monotonic()
                self._tell(look.look())
                with connection.begin():
                    SEALS.set(read_head(connection).position)
            if not more:
                self._stopping.wait(min(SEAL_EVERY_SECONDS, self._duties.look_every_seconds))

    def _tell(self, findings: Findings) -> None:
        for invariant, broken in findings.broken.items():
            VIOLATIONS.labels(invariant).set(len(broken))
            ids = {row.id for row in broken}
            if ids - self._named.get(invariant, set()):
                named = sorted(ids)[:MOST_NAMED]
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

    def _show_off_duty(self) -> None:
        """What was found is the next watch's to show; two workers must not be counted together."""
        for invariant in Invariant:
            VIOLATIONS.labels(invariant).set(0)
        for gauge in (DRIFT, UNSETTLED, UNSETTLED_AGE, LAST_CHECK, SEALS):
            gauge.set(0)
