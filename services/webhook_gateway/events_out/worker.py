"""The events worker: the actor on queue `events`, and the threads that fan events out."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from dramatiq import Broker
from dramatiq.middleware import Middleware

from services.webhook_gateway.events_out.deliver import DeliveryPolicy, EventDelivery
from services.webhook_gateway.events_out.http_client import EndpointClient
from services.webhook_gateway.events_out.metrics import ENDPOINTS, OLDEST_SECONDS, WAITING
from services.webhook_gateway.events_out.postgres import PostgresDeliveries
from services.webhook_gateway.events_out.settings import EventsSettings
from shared.contracts.event_types import DeliverEvents
from shared.contracts.routes import GATEWAY
from shared.messaging.actors import actor
from shared.messaging.broker import build_broker
from shared.messaging.relay import Relay, connections_of
from shared.messaging.worker import BackgroundThread, run_worker
from shared.operations.worker_threads import operator_threads
from shared.runtime.database import build_engine
from shared.runtime.metrics import serve_metrics
from shared.runtime.periodic_thread import PeriodicThread

QUEUE = "events"
MAX_STATEMENT_MS = 30_000
#: A delivery needs the database for milliseconds, and the endpoint for longer.
CONNECTIONS = 8
FAN_OUT_SECONDS = 0.2
DUE_SECONDS = 1.0
TERMS_SECONDS = 60.0
PRUNE_SECONDS = 600.0
COUNT_SECONDS = 5.0


def run(settings: EventsSettings) -> int:
    """Work until stopped; returns the exit status."""
    url, rabbitmq_url = settings.database_url.get_secret_value(), settings.rabbitmq_url.get_secret_value()
    engine = build_engine(
        url, pool_size=CONNECTIONS, application="nouba events worker", statement_timeout_ms=MAX_STATEMENT_MS
    )
    background = build_engine(url, pool_size=8 + connections_of(GATEWAY), application="nouba events relay")
    relay = Relay(background, rabbitmq_url, GATEWAY)
    store = PostgresDeliveries(engine)
    client = EndpointClient(settings.events_timeout_seconds, allow_private=settings.events_allow_private)
    delivery = EventDelivery(
        store=store,
        post=client.post,
        policy=DeliveryPolicy(timedelta(days=settings.events_retry_days), timedelta(days=settings.events_disable_days)),
        now=lambda: datetime.now(UTC),
        wake=relay.wake,
    )
    broker = build_broker(rabbitmq_url)
    broker.add_middleware(_Stopping(delivery))
    declare(broker, delivery)
    if settings.metrics_port:
        serve_metrics(settings.metrics_port, settings.metrics_host)
    sweep_store = PostgresDeliveries(background, publishes=settings.events_exchange)
    background_threads: list[BackgroundThread] = [
        relay,
        *_threads(sweep_store, relay.wake, timedelta(days=settings.events_keep_days)),
        *operator_threads(broker, background, rabbitmq_url, [QUEUE]),
    ]
    return run_worker(
        broker,
        [QUEUE],
        threads=settings.events_threads,
        prefetch=settings.events_threads,
        background_threads=background_threads,
    )


def _threads(store: PostgresDeliveries, wake: Callable[[], None], keep: timedelta) -> list[BackgroundThread]:
    def fan_out() -> bool:
        count = store.fan_out()
        if count:
            wake()
        return count > 0

    def enqueue_due() -> None:
        if store.enqueue_due():
            wake()

    def prune() -> bool:
        return store.prune(keep.total_seconds())

    def record_expired_terms() -> None:
        store.record_expired_terms(keep.total_seconds())

    return [
        PeriodicThread("event fan-out", fan_out, FAN_OUT_SECONDS, at_once=True),
        PeriodicThread("events due", enqueue_due, DUE_SECONDS),
        PeriodicThread("ended terms", record_expired_terms, TERMS_SECONDS, at_once=True),
        PeriodicThread("old events", prune, PRUNE_SECONDS, at_once=True),
        PeriodicThread("events count", lambda: _count(store), COUNT_SECONDS, at_once=True),
    ]


def _count(store: PostgresDeliveries) -> None:
    found = store.counts()
    for state in ("healthy", "failing", "disabled"):
        ENDPOINTS.labels(state).set(getattr(found, state))
    WAITING.set(found.waiting)
    OLDEST_SECONDS.set(found.oldest_seconds)


def declare(broker: Broker, delivery: EventDelivery) -> None:
    """The worker's one actor. A message that is lost or dead costs nothing: its deliveries are still due."""

    @actor(broker, DeliverEvents, max_retries=3, min_backoff_ms=1000, max_backoff_ms=30_000, time_limit_ms=120_000)
    def deliver(message: DeliverEvents) -> None:
        delivery.deliver(message.endpoint_id)


class _Stopping(Middleware):
    """Lets a delivery end with the attempt in hand when the worker stops."""

    def __init__(self, delivery: EventDelivery) -> None:
        self._delivery = delivery

    def before_worker_shutdown(self, broker: Broker, worker: object) -> None:
        self._delivery.stopping.set()
