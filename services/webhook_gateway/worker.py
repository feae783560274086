"""The payments worker: the actor on queue `webhooks`, and the threads that keep it company."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import structlog
from dramatiq import Broker

from services.webhook_gateway.integrity.monitor import IntegrityMonitor, MonitorSettings
from services.webhook_gateway.metrics import SETTLED
from services.webhook_gateway.providers.base import ConfirmsPayments
from services.webhook_gateway.providers.circuit_breaker import Breaker
from services.webhook_gateway.providers.concurrency_limit import ConcurrencyLimited
from services.webhook_gateway.providers.registry import enabled
from services.webhook_gateway.providers.settings import ProviderSettings
from services.webhook_gateway.reconciliation.threads import reconciliations, rounds
from services.webhook_gateway.settings import GatewaySettings
from services.webhook_gateway.settlement.batched import LARGEST_BATCH, LONGEST_LOCK_MS, BatchedSettlement
from services.webhook_gateway.settlement.book import WalletPolicy
from services.webhook_gateway.settlement.postgres import open_store, read_events
from services.webhook_gateway.settlement.retry_due import DueEventScheduler
from services.webhook_gateway.settlement.settle import Settlement
from shared.contracts.routes import GATEWAY
from shared.contracts.webhooks import WebhookReceived
from shared.messaging.actors import actor
from shared.messaging.broker import build_broker
from shared.messaging.publisher import Publisher
from shared.messaging.relay import Relay
from shared.messaging.worker import SHORT_JOBS, BackgroundThread, run_worker
from shared.operations.worker_threads import operator_threads
from shared.runtime.batcher import Batcher
from shared.runtime.database import build_engine
from shared.runtime.logs import describe
from shared.runtime.metrics import serve_metrics

#: A thread that waits for a lock of the school's own application gives up, and tries the event again later.
LONGEST_STATEMENT_MS = 30_000

log = structlog.get_logger(__name__)


def run(settings: GatewaySettings, psp_settings: ProviderSettings) -> int:
    """Work until told to stop; returns the exit status."""
    url = settings.database_url.get_secret_value()
    rabbitmq_url = settings.rabbitmq_url.get_secret_value()
    engine = build_engine(
        url,
        pool_size=settings.worker_threads,
        application="nouba payments worker",
        autocommit=True,
        statement_timeout_ms=LONGEST_STATEMENT_MS,
    )
    company = build_engine(url, pool_size=4, application="nouba payments relay")
    relay = Relay(company, Publisher(rabbitmq_url), GATEWAY)
    providers = enabled(psp_settings)
    breakers = {psp.name: Breaker(psp.name) for psp in providers.values()}
    terms = WalletPolicy(settings.currency, settings.zone, now=lambda: datetime.now(UTC))
    alone = Settlement(
        read=Batcher(partial(read_events, engine), LARGEST_BATCH),
        books=partial(open_store, engine, settings.subscription_period),
        providers=providers,
        asks={
            psp.name: ConcurrencyLimited(psp, breakers[psp.name])
            for psp in providers.values()
            if isinstance(psp, ConfirmsPayments)
        },
        terms=terms,
    )
    hurried = replace(alone, books=partial(open_store, engine, settings.subscription_period, LONGEST_LOCK_MS))
    broker = build_broker(rabbitmq_url)
    declare(broker, BatchedSettlement(hurried, alone), relay.wake)
    if settings.metrics_port:
        serve_metrics(settings.metrics_port, settings.metrics_host)
    waiting = DueEventScheduler(company, relay.wake)
    limit_ms = LONGEST_STATEMENT_MS
    looking = build_engine(url, pool_size=3, application="nouba reconciliation", statement_timeout_ms=limit_ms)
    found = reconciliations(providers, breakers, looking, relay.wake)
    looks = rounds(found, looking, settings.subscription_period, terms)
    operating = operator_threads(broker, company, rabbitmq_url, ["webhooks"])
    watch = IntegrityMonitor(url, MonitorSettings(settings.watch_seconds, settings.watch_settled_within_seconds))
    companions: list[BackgroundThread] = [relay, waiting, *operating, *looks, watch]
    threads = settings.worker_threads
    return run_worker(broker, ["webhooks"], threads=threads, prefetch=SHORT_JOBS * threads, companions=companions)


def declare(broker: Broker, settlement: BatchedSettlement, wake: Callable[[], None]) -> None:
    """The service's one actor. An event that fails for good is not lost: its row is still there and due again."""

    @actor(broker, WebhookReceived, max_retries=16, min_backoff_ms=500, max_backoff_ms=5 * 60_000, time_limit_ms=60_000)
    def settle(message: WebhookReceived) -> None:
        try:
            verdict = settlement.settle(message.event_id)
        except Exception as error:
            log.exception("webhook not settled", event_id=message.event_id)
            verdict = settlement.postpone(message.event_id, describe(error))
        wake()
        if verdict is not None:
            SETTLED.labels(verdict.state).inc()
            log.info("webhook settled", event_id=message.event_id, state=verdict.state, payment_id=verdict.payment_id)
