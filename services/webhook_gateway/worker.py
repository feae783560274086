"""The payments worker: the actor on queue `webhooks` and its background threads."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import structlog
from dramatiq import Broker
from pika.exceptions import AMQPError
from sqlalchemy import Engine

from services.webhook_gateway.inbox.known_orders import is_registered
from services.webhook_gateway.inbox.postgres import PostgresInbox
from services.webhook_gateway.integrity.anchors import Anchoring, open_anchors
from services.webhook_gateway.integrity.monitor import IntegrityMonitor, MonitorSettings
from services.webhook_gateway.metrics import SETTLED
from services.webhook_gateway.providers.base import ConfirmsPayments, Provider
from services.webhook_gateway.providers.circuit_breaker import Breaker
from services.webhook_gateway.providers.concurrency_limit import ConcurrencyLimited
from services.webhook_gateway.providers.registry import enabled
from services.webhook_gateway.providers.settings import ProviderSettings
from services.webhook_gateway.reconciliation.threads import reconciliations, rounds
from services.webhook_gateway.refunds.postgres_requests import PostgresRefundRequests
from services.webhook_gateway.refunds.send_to_provider import Refunding
from services.webhook_gateway.settings import GatewaySettings
from services.webhook_gateway.settlement.batched import MAX_LOCK_MS, BatchedSettlement
from services.webhook_gateway.settlement.book_payment_notice import WalletPolicy
from services.webhook_gateway.settlement.postgres import open_store, read_events
from services.webhook_gateway.settlement.provider_payouts import PayoutBookings
from services.webhook_gateway.settlement.retry_due import (
    LOST_MESSAGES_POLL_SECONDS,
    SHORT_QUEUE_MESSAGES,
    DueEventScheduler,
    enqueue_alone,
    release_lost,
)
from services.webhook_gateway.settlement.settle import Settlement
from services.webhook_gateway.settlement.wallet_adjustments import AT_ONCE, AdjustmentBookings
from shared.contracts.payments import PaymentsSettled
from shared.contracts.routes import GATEWAY, route_of
from shared.contracts.webhooks import WebhookReceived, WebhooksReceived
from shared.messaging.actors import actor, was_delivered_before
from shared.messaging.broker import QuorumBroker, build_broker
from shared.messaging.relay import Relay, connections_of
from shared.messaging.worker import SHORT_JOBS, BackgroundThread, run_worker
from shared.operations.queues.rabbitmq_stats import ask_amqp
from shared.operations.retention.erase_old import retention_thread
from shared.operations.worker_threads import operator_threads
from shared.runtime.database import build_engine
from shared.runtime.metrics import serve_metrics
from shared.runtime.periodic_thread import PeriodicThread

#: A thread that waits for a lock of the school's own application gives up, and tries the event again later.
MAX_STATEMENT_MS = 30_000
QUEUE = "webhooks"

log = structlog.get_logger(__name__)


def run(settings: GatewaySettings, psp_settings: ProviderSettings) -> int:
    """Work until stopped; returns the exit status."""
    url = settings.database_url.get_secret_value()
    rabbitmq_url = settings.rabbitmq_url.get_secret_value()
    engine = _committing(url, settings.worker_threads, "nouba payments worker")
    # a batch and a read at once: on a connection that others use now and then, each would find its plans forgotten
    batches = _committing(url, 2, "nouba payments batches")
    background = build_engine(url, pool_size=4 + connections_of(GATEWAY), application="nouba payments relay")
    relay = Relay(background, rabbitmq_url, GATEWAY)
    providers = enabled(psp_settings)
    breakers = {psp.name: Breaker(psp.name) for psp in providers.values()}
    terms = WalletPolicy(settings.currency, settings.zone, now=lambda: datetime.now(UTC))
    broker = build_broker(rabbitmq_url)
    settlement = _settlement(engine, batches, settings, providers, _confirming(providers, breakers, engine), terms)
    declare(broker, settlement, partial(enqueue_alone, background), relay.wake)
    if settings.metrics_port:
        serve_metrics(settings.metrics_port, settings.metrics_host)
    limit_ms = MAX_STATEMENT_MS
    poll_engine = build_engine(url, pool_size=4, application="nouba reconciliation", statement_timeout_ms=limit_ms)
    polled = reconciliations(providers, breakers, poll_engine, relay.wake, settings.payments_mode)
    watch = IntegrityMonitor(url, MonitorSettings(settings.integrity_check_seconds, settings.integrity_settle_seconds))
    background_threads: list[BackgroundThread] = [
        relay,
        *_retries(background, broker, rabbitmq_url, relay.wake),
        PeriodicThread("corrections", partial(_book_corrections, poll_engine, settings, terms), 1.0),
        PeriodicThread("payouts", PayoutBookings(poll_engine, settings.currency).book_due, 1.0),
        *operator_threads(broker, background, rabbitmq_url, [QUEUE]),
        PeriodicThread("refunds", _refunding(poll_engine, providers, breakers, relay.wake, settings).begin_next, 1.0),
        *rounds(polled, poll_engine, settings.subscription_period, terms),
        watch,
        retention_thread(poll_engine, settings),
        *_anchoring(settings),
    ]
    threads = settings.worker_threads
    return run_worker(
        broker, [QUEUE], threads=threads, prefetch=SHORT_JOBS * threads, background_threads=background_threads
    )


def _committing(url: str, connections: int, application: str) -> Engine:
    return build_engine(
        url,
        pool_size=connections,
        application=application,
        autocommit=True,
        statement_timeout_ms=MAX_STATEMENT_MS,
    )


def _settlement(
    engine: Engine,
    batches: Engine,
    settings: GatewaySettings,
    providers: Mapping[str, Provider],
    asks: Mapping[str, ConfirmsPayments],
    terms: WalletPolicy,
) -> BatchedSettlement:
    read = partial(read_events, engine)
    books = partial(open_store, engine, settings.subscription_period)
    long_wait = Settlement(lambda event_id: read([event_id])[0], books, providers, asks, terms, settings.payments_mode)
    short_wait = replace(long_wait, books=partial(open_store, engine, settings.subscription_period, MAX_LOCK_MS))
    together = replace(short_wait, books=partial(open_store, batches, settings.subscription_period, MAX_LOCK_MS))
    return BatchedSettlement(together, short_wait, long_wait, partial(read_events, batches))


def _anchoring(settings: GatewaySettings) -> list[BackgroundThread]:
    if not settings.ledger_anchor:
        return []
    lock_days = settings.ledger_anchor_lock_days
    anchors = open_anchors(settings.ledger_anchor, settings.ledger_anchor_endpoint_url, lock_days)
    return [Anchoring(settings.database_url.get_secret_value(), anchors, settings.ledger_anchor_seconds)]


def _retries(
    engine: Engine, broker: QuorumBroker, rabbitmq_url: str, wake: Callable[[], None]
) -> list[BackgroundThread]:
    release = partial(_release_lost, engine, broker, rabbitmq_url)
    return [DueEventScheduler(engine, wake), PeriodicThread("lost messages", release, LOST_MESSAGES_POLL_SECONDS)]


def _release_lost(engine: Engine, broker: QuorumBroker, rabbitmq_url: str) -> bool:
    """A round of the thread that finds events whose message is lost; a paused queue keeps its messages."""

    def is_queue_short() -> bool:
        if QUEUE in broker.resting:
            return False
        try:
            counted = ask_amqp(rabbitmq_url, [QUEUE]).get(QUEUE)
        except AMQPError:
            return False
        return counted is not None and counted.ready <= SHORT_QUEUE_MESSAGES

    if count := release_lost(engine, is_queue_short):
        log.warning("messages were lost, their events are enqueued again", count=count)
    return False


def _refunding(
    engine: Engine,
    providers: Mapping[str, Provider],
    breakers: Mapping[str, Breaker],
    wake: Callable[[], None],
    settings: GatewaySettings,
) -> Refunding:
    committing = engine.execution_options(isolation_level="AUTOCOMMIT")
    return Refunding(
        providers={psp.name: psp for psp in providers.values()},
        requests=PostgresRefundRequests(committing),
        inbox=PostgresInbox(committing),
        watch=lambda provider: breakers[provider].watch(),
        now=lambda: datetime.now(UTC),
        wake=wake,
        payments_mode=settings.payments_mode,
    )


def _book_corrections(engine: Engine, settings: GatewaySettings, terms: WalletPolicy) -> bool:
    committing = engine.execution_options(isolation_level="AUTOCOMMIT")
    bookings = AdjustmentBookings(engine, partial(open_store, committing, settings.subscription_period), terms)
    return bookings.book_due() == AT_ONCE


def _confirming(
    providers: Mapping[str, Provider], breakers: Mapping[str, Breaker], engine: Engine
) -> dict[str, ConfirmsPayments]:
    """The providers that can be asked about one payment, each about few at once."""
    return {
        psp.name: ConcurrencyLimited(psp, breakers[psp.name], is_registered=partial(is_registered, engine, psp.name))
        for psp in providers.values()
        if isinstance(psp, ConfirmsPayments)
    }


def declare(
    broker: Broker,
    settlement: BatchedSettlement,
    enqueue_alone: Callable[[Sequence[int]], None],
    wake: Callable[[str], None],
) -> None:
    """The service's actors. An event that fails for good is not lost: its row is still there and due again.

    `wake` is called with the queue for which messages were enqueued.
    """
    announced = route_of(PaymentsSettled).queue

    @actor(
        broker, WebhooksReceived, max_retries=16, min_backoff_ms=500, max_backoff_ms=5 * 60_000, time_limit_ms=60_000
    )
    def settle(message: WebhooksReceived) -> None:
        if len(message.event_ids) > 1 and was_delivered_before():
            # a worker died of one of them: the others are not tried with it again
            enqueue_alone(message.event_ids)
            log.info("webhooks delivered again, each is settled alone", events=len(message.event_ids))
            wake(QUEUE)
        else:
            settle_all(message.event_ids)

    @actor(broker, WebhookReceived, max_retries=16, min_backoff_ms=500, max_backoff_ms=5 * 60_000, time_limit_ms=60_000)
    def settle_one(message: WebhookReceived) -> None:
        settle_all([message.event_id])

    def settle_all(event_ids: Sequence[int]) -> None:
        verdicts = settlement.settle(event_ids)
        states = Counter(verdict.state.value for verdict in verdicts.values())
        for state, count in states.items():
            SETTLED.labels(state).inc(count)
        if verdicts:
            log.info("webhooks settled", event_ids=list(verdicts), **states)
        wake(announced)
