"""The statistics worker: the actors on queue `default`."""

from dramatiq import Broker
from sqlalchemy import Engine

from services.stats.changes import mark_changed
from services.stats.settings import StatsSettings
from shared.contracts.payments import PaymentSettled
from shared.runtime.broker import build_broker
from shared.runtime.database import build_engine
from shared.runtime.messaging import handles
from shared.runtime.metrics import serve_metrics
from shared.runtime.worker import run_worker


def run(settings: StatsSettings) -> int:
    """Work until told to stop; returns the exit status."""
    engine = build_engine(
        settings.database_url.get_secret_value(), pool_size=settings.worker_threads, application="nouba stats worker"
    )
    broker = build_broker(settings.rabbitmq_url.get_secret_value())
    declare(broker, engine)
    if settings.metrics_port:
        serve_metrics(settings.metrics_port, settings.metrics_host)
    return run_worker(broker, ["default"], threads=settings.worker_threads)


def declare(broker: Broker, engine: Engine) -> None:
    """The actors of this service."""

    @handles(broker, PaymentSettled, max_retries=8, min_backoff_ms=500, max_backoff_ms=300_000, time_limit_ms=60_000)
    def note_payment(message: PaymentSettled) -> None:
        mark_changed(engine, message.day)
