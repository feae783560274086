"""The scheduler: periodiq decides when to check, PostgreSQL which days are due.

periodiq knows no zone, keeps no state and dies when it cannot publish. So only its reading of cron's notation is used:
the scheduler fires every few minutes, which hits midnight in every zone of the world, and each time asks the sweep.
What is due goes into the outbox, so RabbitMQ may be away; a fire that was missed is made up for by the next one or by
the next start.
"""

import contextlib
import queue
import signal
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import partial

import periodiq
import structlog
from sqlalchemy.exc import SQLAlchemyError

from services.stats.metrics import SWEEP_FAILURES, SWEEPS, days_due, heartbeat
from services.stats.morning_mail import enqueue_due as morning_mail
from services.stats.settings import StatsSettings
from services.stats.snapshots.closing import close_due
from services.stats.snapshots.due_days import sweep
from shared.contracts.routes import STATS
from shared.messaging.relay import Relay, connections_of
from shared.runtime.database import build_engine
from shared.runtime.logs import describe
from shared.runtime.metrics import serve_metrics

_MINUTE = timedelta(minutes=1)
#: After a longer sleep than this it fires without checking which minutes were missed.
_MAX_LOOKBACK = timedelta(days=1)

log = structlog.get_logger(__name__)


def run(settings: StatsSettings) -> int:
    """Run until stopped; returns the exit status."""
    engine = build_engine(
        settings.database_url.get_secret_value(),
        pool_size=1 + connections_of(STATS),
        application="nouba stats scheduler",
    )
    relay = Relay(engine, settings.rabbitmq_url.get_secret_value(), STATS)
    if settings.metrics_port:
        serve_metrics(settings.metrics_port, settings.metrics_host)
    enqueue_due = partial(
        sweep,
        engine,
        settings.zone,
        lookback_days=settings.stats_lookback_days,
        first_day=settings.stats_first_day,
    )
    close = partial(close_due, engine, settings.zone, closing_day=settings.stats_closing_day)
    mail = partial(morning_mail.enqueue_due, engine, settings.zone, send_at=settings.stats_mail_at)
    scheduler = Scheduler(
        settings.stats_schedule,
        partial(
            _enqueue_due,
            enqueue_due,
            relay.wake,
            close if settings.stats_closing_day else None,
            mail if settings.mail_recipients() else None,
        ),
    )
    relay.start()
    log.info("scheduler started", schedule=settings.stats_schedule, zone=settings.timezone)
    scheduler.run()
    relay.stop()
    log.info("scheduler stopped")
    return 0


def _enqueue_due(
    enqueue_due: Callable[..., list[date]],
    wake: Callable[[], None],
    close: Callable[..., list[date]] | None = None,
    mail: Callable[..., date | None] | None = None,
) -> None:
    """Sweep, close months and mail once; the database may be away, and will be asked again at the next fire."""
    try:
        due = enqueue_due(now=datetime.now(UTC))
        if close:
            close(now=datetime.now(UTC))
        mailed = mail(now=datetime.now(UTC)) if mail else None
    except SQLAlchemyError as error:
        SWEEP_FAILURES.inc()
        log.warning("could not search for due days, trying again at the next fire", error=describe(error))
        return
    SWEEPS.inc()
    heartbeat()
    days_due(len(due))
    if due:
        log.info("days are due", days=len(due), first=str(due[0]), last=str(due[-1]))
    if due or mailed:
        wake()


class Scheduler:
    """Calls `fire` at the start, for what was missed, and then in every minute of the schedule."""

    def __init__(self, schedule: str, fire: Callable[[], None]) -> None:
        self._schedule = periodiq.cron(schedule)
        self._fire = fire
        # a signal handler may write to no other queue: it could wait for a lock that this thread holds
        self._signals: queue.SimpleQueue[int] = queue.SimpleQueue()

    def run(self) -> None:
        """Run until SIGTERM or SIGINT.

        It waits by time and not for an alarm: a process that was stopped, or a machine that slept, over the instant
        of an alarm may never see it.
        """
        # the first process of a container ignores a SIGTERM that nobody handles
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, lambda number, _frame: self._signals.put(number))
        checked_at = datetime.now(UTC)
        self._fire()
        while not self._is_stopped():
            now = datetime.now(UTC)
            if self._is_due(checked_at, now):
                self._fire()
            checked_at = now

    def _is_stopped(self) -> bool:
        """Wait a second for a signal, or less where a minute begins."""
        now = datetime.now(UTC)
        with contextlib.suppress(queue.Empty):
            # a signal that another thread receives ends no wait of this one
            self._signals.get(timeout=min(1.0, 60 - now.second - now.microsecond / 1_000_000))
            return True
        return False

    def _is_due(self, since: datetime, now: datetime) -> bool:
        """Whether a minute of the schedule has begun after `since`; a clock that went back makes nothing due."""
        if now - since >= _MAX_LOOKBACK:
            return True
        minute = now.replace(second=0, microsecond=0)
        while minute > since:
            # in the zone of the process, as cron has it
            if self._schedule.validate(minute.astimezone()):
                return True
            minute -= _MINUTE
        return False
