"""The scheduler: periodiq decides when to check, PostgreSQL which days are due.

periodiq knows no zone, keeps no state and dies when it cannot publish. So it is only the clock here: it fires every
few minutes, which hits midnight in every zone of the world, and each time asks the sweep. What is due goes into the
outbox, so RabbitMQ may be away; a fire that was missed is made up for by the next one or by the next start.
"""

import queue
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import partial
from types import FrameType
from typing import Any

import periodiq
import structlog
from sqlalchemy.exc import SQLAlchemyError

from services.stats.metrics import SWEEP_FAILURES, SWEEPS, days_due, heartbeat
from services.stats.settings import StatsSettings
from services.stats.snapshots.due_days import sweep
from shared.contracts.routes import STATS
from shared.messaging.relay import Relay, connections_of
from shared.runtime.database import build_engine
from shared.runtime.logs import describe
from shared.runtime.metrics import serve_metrics

log = structlog.get_logger(__name__)


def run(settings: StatsSettings) -> int:
    """Run until told to stop; returns the exit status."""
    engine = build_engine(
        settings.database_url.get_secret_value(),
        pool_size=1 + connections_of(STATS),
        application="nouba stats scheduler",
    )
    relay = Relay(engine, settings.rabbitmq_url.get_secret_value(), STATS)
    if settings.metrics_port:
        serve_metrics(settings.metrics_port, settings.metrics_host)
    look = partial(sweep, engine, settings.zone, lookback_days=settings.stats_lookback_days)
    scheduler = Scheduler(Periodic(settings.stats_schedule, partial(_look, look, relay.wake)))
    relay.start()
    log.info("scheduler started", schedule=settings.stats_schedule, zone=settings.timezone)
    scheduler.run()
    relay.stop()
    log.info("scheduler stopped")
    return 0


def _look(look: Callable[..., list[date]], wake: Callable[[], None]) -> None:
    """Sweep once; the database may be away, and will be asked again at the next fire."""
    try:
        due = look(now=datetime.now(UTC))
    except SQLAlchemyError as error:
        SWEEP_FAILURES.inc()
        log.warning("could not look for due days, trying again at the next fire", error=describe(error))
        return
    SWEEPS.inc()
    heartbeat()
    days_due(len(due))
    if due:
        log.info("days are due", days=len(due), first=str(due[0]), last=str(due[-1]))
        wake()


@dataclass(frozen=True)
class Periodic:
    """What periodiq wants of an actor: when it is due. It is run here, not sent."""

    spec: str
    fire: Callable[[], None]
    options: dict[str, Any] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.options["periodic"] = periodiq.cron(self.spec)


class Scheduler(periodiq.Scheduler):  # type: ignore[misc]
    """periodiq's loop, with one periodic job that runs here, and that stops when it is told to."""

    def __init__(self, periodic: Periodic) -> None:
        super().__init__(actors=[periodic])
        # a signal handler may interrupt a `get` of periodiq's own queue, whose lock it would then wait for for ever
        self.alarm_q: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._periodic = periodic

    def run(self) -> None:
        """Fire now, for what was missed, and then whenever it is due, until SIGTERM or SIGINT."""
        assert threading.current_thread() is threading.main_thread(), "periodiq needs the main thread, for SIGALRM"
        # before the first alarm: a process dies of an alarm that nobody handles, and the first process of a
        # container ignores a SIGTERM that nobody handles
        signal.signal(signal.SIGALRM, self.signal_handler)
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, self._stop)
        # in a minute that is due anyway, `schedule` fires
        if not self._periodic.options["periodic"].validate(datetime.now(UTC).astimezone()):
            self._periodic.fire()
        self.schedule()
        self.loop()

    def send_actors(self, actors: Sequence[Periodic], now: str) -> None:
        for actor in actors:
            actor.fire()

    def _stop(self, signum: int, _frame: FrameType | None) -> None:
        self.alarm_q.put(False)
