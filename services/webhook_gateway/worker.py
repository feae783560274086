"""The payments worker: the actor on queue `webhooks`, and the threads that keep it company."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import structlog
from dramatiq import Broker

from services.webhook_gateway.metrics import SETTLED
from services.webhook_gateway.payments.booking import Terms
from services.webhook_gateway.payments.settle import Settlement
from services.webhook_gateway.payments.sql_books import SERVICE, open_books, read_events
from services.webhook_gateway.payments.together import LARGEST_BATCH, LONGEST_LOCK_MS, Together
from services.webhook_gateway.payments.waiting import Waiting
from services.webhook_gateway.psps.base import Asks
from services.webhook_gateway.psps.breaker import Breaker
from services.webhook_gateway.psps.registry import enabled
from services.webhook_gateway.psps.settings import PspSettings
from services.webhook_gateway.psps.sparing import AskSparingly
from services.webhook_gateway.reconciling import reconciliations, rounds
from services.webhook_gateway.settings import GatewaySettings
from services.webhook_gateway.watch.thread import Duties, Watch
from shared.contracts.webhooks import WebhookReceived
from shared.runtime.broker import build_broker
from shared.runtime.database import build_engine
from shared.runtime.gathering import Gathering
from shared.runtime.logs import describe
from shared.runtime.messaging import handles
from shared.runtime.metrics import serve_metrics
from shared.runtime.operated import operated
from shared.runtime.publisher import Publisher
from shared.runtime.relay import Relay
from shared.runtime.worker import SHORT_JOBS, Companion, run_worker

#: A thread that waits for a lock of the school's own application gives up, and tries the event again later.
LONGEST_STATEMENT_MS = 30_000

log = structlog.get_logger(__name__)


def run(settings: GatewaySettings, psp_settings: PspSettings) -> int:
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
    relay = Relay(company, Publisher(rabbitmq_url), SERVICE)
    psps = enabled(psp_settings)
    breakers = {psp.name: Breaker(psp.name) for psp in psps.values()}
    terms = Terms(settings.currency, settings.zone, now=lambda: datetime.now(UTC))
    alone = Settlement(
        read=Gathering(partial(read_events, engine), LARGEST_BATCH),
        books=partial(open_books, engine, settings.subscription_period),
        psps=psps,
        asks={psp.name: AskSparingly(psp, breakers[psp.name]) for psp in psps.values() if isinstance(psp, Asks)},
        terms=terms,
    )
    hurried = replace(alone, books=partial(open_books, engine, settings.subscription_period, LONGEST_LOCK_MS))
    broker = build_broker(rabbitmq_url)
    declare(broker, Together(hurried, alone), relay.wake)
    if settings.metrics_port:
        serve_metrics(settings.metrics_port, settings.metrics_host)
    waiting = Waiting(company, relay.wake)
    looking = build_engine(
        url, pool_size=3, application="nouba reconciliation", statement_timeout_ms=LONGEST_STATEMENT_MS
    )
    found = reconciliations(psps, breakers, looking, relay.wake)
    in_hand = operated(broker, company, rabbitmq_url, ["webhooks"])
    looks = rounds(found, looking, settings.subscription_period, terms)
    watch = Watch(url, Duties(settings.watch_seconds, settings.watch_settled_within_seconds))
    companions: list[Companion] = [relay, waiting, *in_hand, *looks, watch]
    threads = settings.worker_threads
    return run_worker(broker, ["webhooks"], threads=threads, prefetch=SHORT_JOBS * threads, companions=companions)


def declare(broker: Broker, settlement: Together, wake: Callable[[], None]) -> None:
    """The service's one actor. An event that fails for good is not lost: its row is still there and due again."""

    @handles(
        broker, WebhookReceived, max_retries=16, min_backoff_ms=500, max_backoff_ms=5 * 60_000, time_limit_ms=60_000
    )
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
