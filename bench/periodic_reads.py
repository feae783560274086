"""Lists every read that a background thread repeats: a benchmark times each, a test keeps each from a whole-table scan.

A read names the background thread that does it, as Prometheus shows it. `tests/integration/test_periodic_reads.py`
compares the names with the threads in the code, so that a new thread cannot be left out.
"""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Engine, select

from services.console.overview_queries import read_overview
from services.playback.views import PostgresViews, View
from services.stats.api.snapshot_cache import SnapshotCache, refresh
from services.stats.snapshots.closing import close_due
from services.stats.snapshots.due_days import sweep
from services.transcoder.jobs.maintenance import Maintenance
from services.transcoder.jobs.postgres_job_requests import PostgresRequestStore
from services.transcoder.jobs.postgres_speech import PostgresSpeechStore
from services.transcoder.jobs.scratch import ScratchSpace
from services.webhook_gateway.events_out.postgres import PostgresDeliveries
from services.webhook_gateway.http.readiness import check
from services.webhook_gateway.integrity.hash_chain import HashChainWriter, read_head
from services.webhook_gateway.integrity.invariant_checker import InvariantChecker
from services.webhook_gateway.reconciliation.postgres_schedule import PostgresPollSchedule
from services.webhook_gateway.reconciliation.threads import LOST_CHECKOUT
from services.webhook_gateway.refunds.postgres_requests import PostgresRefundRequests
from services.webhook_gateway.settlement.book_payment_notice import WalletPolicy
from services.webhook_gateway.settlement.postgres import open_store
from services.webhook_gateway.settlement.postgres_users_able_to_pay import users_covered
from services.webhook_gateway.settlement.provider_payouts import PayoutBookings
from services.webhook_gateway.settlement.retry_due import release_due, release_lost
from services.webhook_gateway.settlement.wallet_adjustments import AdjustmentBookings
from shared.contracts.routes import GATEWAY, QUEUES
from shared.messaging.relay import _TAKE_NEWEST, _TAKE_OLDEST, backlogs
from shared.operations.dead_letters.queries import UNDECIDED, count_by_state
from shared.operations.queues.pauses import list_pauses
from shared.operations.retention.erase_old import erase_batch, rules
from shared.operations.retention.settings import RetentionSettings
from shared.runtime.database import RetryingEngine
from shared.schema.tables import dead_letters

ZONE = ZoneInfo("Africa/Algiers")

Round = Callable[[], object]


@dataclass(frozen=True, slots=True)
class PeriodicRead:
    """One round of a duty. `prepare` makes it, with what a process does once at its start."""

    prepare: Callable[[Engine], Round]
    #: The background threads that do it; none where it is no thread of ours, such as a probe or an open page.
    threads: tuple[str, ...] = ()
    every_seconds: float = 1.0


def _each(do: Callable[[Engine], object]) -> Callable[[Engine], Round]:
    return lambda engine: partial(do, engine)


def _committing(engine: Engine) -> Engine:
    return engine.execution_options(isolation_level="AUTOCOMMIT")


def _take(engine: Engine) -> None:
    with engine.begin() as connection:
        for statement in (_TAKE_OLDEST, _TAKE_NEWEST):
            connection.exec_driver_sql(statement, (GATEWAY, "webhooks", 100))


def _reconcile(engine: Engine) -> None:
    schedule = PostgresPollSchedule(_committing(engine))
    for provider in ("satim", "stripe", "chargily"):
        schedule.take(provider)


def _measure_wallets(engine: Engine) -> None:
    schedule = PostgresPollSchedule(_committing(engine))
    for provider in ("satim", "stripe", "chargily"):
        schedule.count_due(provider)
    schedule.expire_lost_checkouts(LOST_CHECKOUT)
    users_covered(engine)


def _book_corrections(engine: Engine) -> None:
    terms = WalletPolicy("DZD", ZONE, lambda: datetime.now(UTC))
    books = partial(open_store, _committing(engine), timedelta(days=30))
    AdjustmentBookings(engine, books, terms).book_due()


def _seal(engine: Engine) -> Round:
    connection = engine.connect()
    writer = HashChainWriter(connection)
    while writer.seal():
        pass

    def work() -> None:
        writer.seal()
        with connection.begin():
            read_head(connection)

    return work


def _check_invariants(engine: Engine) -> Round:
    checker = InvariantChecker(engine.connect(), 300)
    # the first check of a worker reads everything
    checker.check()
    return checker.check


def _read_head(engine: Engine) -> None:
    with engine.begin() as connection:
        read_head(connection)


def _collect(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execute(select(dead_letters.c.id).limit(1))


def _erase(engine: Engine) -> None:
    # the address is not read: only how long each kind is kept
    given: dict[str, Any] = {"database_url": "postgresql://host/name"}
    settings = RetentionSettings(**given)
    for rule in rules(settings):
        erase_batch(engine, rule, datetime.now(UTC))


def _maintain(do: Callable[[Maintenance], object]) -> Callable[[Engine], Round]:
    """A round of one of the transcoder's duties; nothing is there to be removed, so no S3 is asked."""

    week, month = timedelta(days=7), timedelta(days=30)

    def run(engine: Engine) -> None:
        with contextlib.closing(ScratchSpace(reserve_bytes=0)) as scratch:
            with scratch.upload(1, 1, lambda folder: (Path(folder) / "upload").touch()):
                pass
            nothing: Any = _Nothing()
            do(Maintenance(engine, nothing, scratch, orphan_age=week, upload_age=week, upload_retention=month))

    return _each(run)


class _Nothing:
    """A bucket without objects, whose removals do nothing."""

    def folders(self, _prefix: str) -> list[str]:
        return []

    def remove_one(self, _key: str) -> None:
        return None


def _sweep(engine: Engine) -> None:
    sweep(engine, ZONE, datetime.now(UTC), lookback_days=3)
    close_due(engine, ZONE, datetime.now(UTC), closing_day=5)


def _write_views(engine: Engine) -> None:
    PostgresViews(engine).add([View("17", 7, date(2026, 3, 5), 1000, 1)])


def _refresh(engine: Engine) -> Round:
    """A server that has loaded all days once."""
    cache = refresh(engine, SnapshotCache())
    return lambda: refresh(engine, cache)


#: What runs by itself, every few seconds or minutes, in some process.
READS: Mapping[str, PeriodicRead] = {
    "relay: publish": PeriodicRead(_each(_take), ("relay SERVICE QUEUE",)),
    "relay: count": PeriodicRead(_each(partial(backlogs, service=GATEWAY)), ("relay SERVICE",), 5),
    "gateway: readiness": PeriodicRead(_each(check), (), 5),
    "payments: due events": PeriodicRead(_each(release_due), ("due events",)),
    "payments: lost messages": PeriodicRead(
        _each(lambda engine: release_lost(engine, lambda: True)), ("lost messages",), 10
    ),
    "payments: wallets": PeriodicRead(_each(_measure_wallets), ("wallets",), 10),
    "payments: reconciliation": PeriodicRead(_each(_reconcile), ("asking NAME",)),
    "payments: corrections": PeriodicRead(_each(_book_corrections), ("corrections",)),
    "payments: payouts": PeriodicRead(_each(lambda engine: PayoutBookings(engine, "DZD").book_due()), ("payouts",)),
    "payments: refunds": PeriodicRead(
        _each(lambda engine: PostgresRefundRequests(_committing(engine)).take()), ("refunds",)
    ),
    "payments: sealing": PeriodicRead(_seal, ("sealing",), 2),
    "payments: invariants": PeriodicRead(_check_invariants, ("invariants",), 60),
    "payments: anchoring": PeriodicRead(_each(_read_head), ("anchoring",), 60),
    "payments: retention": PeriodicRead(_each(_erase), ("retention",), 600),
    "events: fan-out": PeriodicRead(
        _each(lambda engine: PostgresDeliveries(engine).fan_out()), ("event fan-out",), 0.2
    ),
    "events: due": PeriodicRead(_each(lambda engine: PostgresDeliveries(engine).enqueue_due()), ("events due",)),
    "events: ended terms": PeriodicRead(
        _each(lambda engine: PostgresDeliveries(engine).record_expired_terms()), ("ended terms",), 60
    ),
    "events: old events": PeriodicRead(
        _each(lambda engine: PostgresDeliveries(engine).prune(31 * 86_400)), ("old events",), 600
    ),
    "events: count": PeriodicRead(_each(lambda engine: PostgresDeliveries(engine).counts()), ("events count",), 5),
    "workers: pauses": PeriodicRead(_each(list_pauses), ("queue pauses",)),
    "workers: dead letters": PeriodicRead(_each(_collect), ("dead letters",), 0.5),
    "workers: count dead letters": PeriodicRead(
        _each(lambda engine: count_by_state(engine, QUEUES, UNDECIDED)), ("dead letters",), 15
    ),
    "workers: count decided letters": PeriodicRead(
        _each(lambda engine: count_by_state(engine, QUEUES)), ("dead letters",), 600
    ),
    "transcoder: due tasks": PeriodicRead(_maintain(Maintenance.release_due), ("due tasks",)),
    "transcoder: scratch space": PeriodicRead(_maintain(Maintenance.forget_uploads), ("scratch space",)),
    "transcoder: cleaning": PeriodicRead(_maintain(Maintenance.clean_one), ("cleaning",)),
    "transcoder: backlog": PeriodicRead(_maintain(Maintenance.measure_backlog), ("backlog",), 5),
    "transcoder: orphans": PeriodicRead(_maintain(Maintenance.remove_orphans), ("orphans",), 3600),
    "transcoder: retention": PeriodicRead(_maintain(Maintenance.remove_sources), ("retention",), 3600),
    "transcoder: requests": PeriodicRead(
        _each(lambda engine: PostgresRequestStore(RetryingEngine(engine)).requests()), ("requests",)
    ),
    "transcoder: captions": PeriodicRead(
        _each(lambda engine: PostgresSpeechStore(RetryingEngine(engine), 30).claim_speech()), ("captions",)
    ),
    "playback: views": PeriodicRead(_each(_write_views), ("lesson views",), 3),
    "console: overview": PeriodicRead(_each(read_overview), (), 2),
    "statistics: due days": PeriodicRead(_each(_sweep), (), 900),
    "statistics: cache": PeriodicRead(_refresh, ("cache refresh",)),
}

#: Threads that read no database, and why.
WITHOUT_DATABASE: Mapping[str, str] = {
    "cache age": "it publishes the age of what the cache holds",
    "spool drain": "it reads the spool on disk, and writes only what lies there",
    "old uploads": "it asks S3 for uploads that were never completed",
}
