"""The statistics worker: the actors on queue `default`."""

from collections.abc import Callable, Sequence
from datetime import date
from functools import partial
from zoneinfo import ZoneInfo

import structlog
from dramatiq import Broker
from sqlalchemy import Engine

from services.stats.errors import SectionFailedError
from services.stats.metrics import CLOSED_DAYS_CHANGED, COMPUTE_SECONDS, DAYS_COMPUTED, SECTIONS_FAILED, VERSIONS
from services.stats.morning_mail.send import mail_once
from services.stats.sections.catalogue import SETTLE_LATER
from services.stats.settings import StatsSettings
from services.stats.snapshots.compute import Computation, Outcome
from services.stats.snapshots.dirty_days import note_day, note_payments
from services.stats.snapshots.nightly_verification import prove_share
from services.stats.snapshots.wiring import build_computation
from shared.contracts.payments import PaymentSettled, PaymentsSettled
from shared.contracts.routes import STATS
from shared.contracts.stats import ComputeDay, MailDay
from shared.contracts.videos import VideoReady
from shared.messaging.actors import actor
from shared.messaging.broker import build_broker
from shared.messaging.relay import Relay, connections_of
from shared.messaging.worker import SHORT_JOBS, run_worker
from shared.operations.worker_threads import operator_threads
from shared.runtime.batcher import Batcher
from shared.runtime.database import build_engine
from shared.runtime.metrics import serve_metrics

#: Messages of one transaction; there are never more than the worker has threads.
MAX_BATCH = 64
#: After the first ten there is one every two and a half to five minutes: four hours without a database cost no message.
RETRIES = 110
#: More than these closed days, or numbers of one, are for `nouba stats rows`.
_LOGGED = 10

log = structlog.get_logger(__name__)


def run(settings: StatsSettings) -> int:
    """Work until stopped; returns the exit status."""
    url, rabbitmq_url = settings.database_url.get_secret_value(), settings.rabbitmq_url.get_secret_value()
    threads = settings.worker_threads
    # one for each that waits for its turn to compute, and what a computation and a proof read the facts with
    engine = build_engine(url, pool_size=threads + 6, application="nouba stats worker")
    background = build_engine(url, pool_size=2 + connections_of(STATS), application="nouba stats relay")
    noting = build_engine(url, pool_size=2, application="nouba stats changes", autocommit=True)
    broker = build_broker(rabbitmq_url)
    # a mail without a mail server is refused at the start
    settings.mail_recipients()
    mail = partial(mail_once, noting, settings)
    declare(broker, engine, noting, build_computation(engine, settings), settings.zone, mail)
    if settings.metrics_port:
        serve_metrics(settings.metrics_port, settings.metrics_host)
    # publishes what a scheduler that has ended has enqueued
    relay = Relay(background, rabbitmq_url, STATS)
    background_threads = [relay, *operator_threads(broker, background, rabbitmq_url, ["default"])]
    return run_worker(
        broker, ["default"], threads=threads, prefetch=SHORT_JOBS * threads, background_threads=background_threads
    )


def declare(
    broker: Broker,
    engine: Engine,
    noting: Engine,
    computation: Computation,
    zone: ZoneInfo,
    mail: Callable[[date], None],
) -> None:
    """The actors of this service. What changed is noted some day, however long the database is away."""

    def note_all(settled: Sequence[PaymentsSettled]) -> Sequence[None]:
        note_payments(noting, settled, zone)
        return [None] * len(settled)

    note = Batcher(note_all, MAX_BATCH)

    @actor(
        broker, PaymentsSettled, max_retries=RETRIES, min_backoff_ms=500, max_backoff_ms=300_000, time_limit_ms=60_000
    )
    def note_settlements(message: PaymentsSettled) -> None:
        note(message)

    @actor(
        broker, PaymentSettled, max_retries=RETRIES, min_backoff_ms=500, max_backoff_ms=300_000, time_limit_ms=60_000
    )
    def note_settlement(message: PaymentSettled) -> None:
        note(PaymentsSettled(payment_ids=(message.payment_id,), days=(message.day,)))

    @actor(broker, VideoReady, max_retries=RETRIES, min_backoff_ms=500, max_backoff_ms=300_000, time_limit_ms=60_000)
    def note_video(message: VideoReady) -> None:
        note_day(noting, message.day)

    # One attempt more in a short time is worth it (a clock a little behind, a database that restarts); what fails
    # then is still due, and the sweep asks again.
    @actor(broker, ComputeDay, max_retries=6, min_backoff_ms=500, max_backoff_ms=60_000, time_limit_ms=900_000)
    def compute_day(message: ComputeDay) -> None:
        with COMPUTE_SECONDS.time():
            outcome = computation.compute_due(message.day)
        report(outcome)
        # these messages come every hour at least; a share is proved once a night, when the new day is there
        prove_share(engine, computation)

    # a mail server that is away for a day costs no mail
    @actor(broker, MailDay, max_retries=RETRIES, min_backoff_ms=5_000, max_backoff_ms=900_000, time_limit_ms=120_000)
    def mail_day(message: MailDay) -> None:
        mail(message.day)


def report(outcome: Outcome) -> None:
    """Count and log what was computed. Raises SectionFailedError, so that a failed section is retried."""
    DAYS_COMPUTED.inc(outcome.days)
    VERSIONS.inc(outcome.new_versions)
    corrected = {day: numbers for day, numbers in outcome.corrected.items() if not SETTLE_LATER.issuperset(numbers)}
    if corrected:
        CLOSED_DAYS_CHANGED.inc(len(corrected))
        for day, numbers in sorted(corrected.items())[:_LOGGED]:
            log.warning(
                "facts of a closed day changed: booked in the open month", day=str(day), numbers=numbers[:_LOGGED]
            )
    if outcome.days:
        log.info("days computed", days=outcome.days, new_versions=outcome.new_versions)
    for day, reasons in outcome.failed.items():
        for name in reasons:
            SECTIONS_FAILED.labels(name).inc()
        raise SectionFailedError(day, reasons)
