"""A worker of Nouba whose handler does nothing; `python -m bench.noop_worker` runs it as a service would."""

import os

from bench.message_counter import Count
from services.webhook_gateway.settings import GatewaySettings
from shared.contracts.webhooks import WebhookReceived
from shared.messaging.actors import actor
from shared.messaging.broker import build_broker
from shared.messaging.worker import SHORT_JOBS, run_worker


def main() -> int:
    """Work until stopped; returns the exit status."""
    broker, count = build_broker(os.environ["BENCH_RABBITMQ_URL"]), Count()

    @actor(broker, WebhookReceived, max_retries=0, min_backoff_ms=1000, max_backoff_ms=1000, time_limit_ms=60_000)
    def nothing(_message: WebhookReceived) -> None:
        count.add()

    threads = GatewaySettings.model_fields["worker_threads"].default
    return run_worker(broker, ["webhooks"], threads=threads, prefetch=SHORT_JOBS * threads)


if __name__ == "__main__":
    raise SystemExit(main())
