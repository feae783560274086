"""A worker of `webhooks` with its operators' threads: `operated <database> <rabbitmq> <journal> [threads] [prefetch]`.

Event 0 kills the process, 1 fails for good, 2 fails at every attempt, and any other is noted; from 1000 on it takes
that many milliseconds.
"""

import os
import signal
import sys
import time
from pathlib import Path

from shared.contracts.webhooks import WebhookReceived
from shared.messaging.actors import actor
from shared.messaging.broker import build_broker
from shared.messaging.worker import run_worker
from shared.operations.dead_letters import collector
from shared.operations.worker_threads import operator_threads
from shared.runtime import logs, metrics
from shared.runtime.database import build_engine


class HopelessError(Exception):
    """Trying again does not help."""


def main(database_url: str, rabbitmq_url: str, journal: str, threads: str = "2", prefetch: str = "1") -> int:
    logs.configure("test")
    # a test reads the metric
    collector.COUNT_SECONDS = 1.0
    broker = build_broker(rabbitmq_url)

    def note(line: str) -> None:
        with Path(journal).open("a") as file:
            file.write(f"{line}\n")

    @actor(
        broker,
        WebhookReceived,
        max_retries=1,
        min_backoff_ms=100,
        max_backoff_ms=200,
        time_limit_ms=20_000,
        permanent=(HopelessError,),
    )
    def work(message: WebhookReceived) -> None:
        note(f"begin {message.event_id}")
        if message.event_id == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        if message.event_id == 1:
            raise HopelessError("event 1")
        if message.event_id == 2:
            raise ConnectionError("the school is away")
        if message.event_id >= 1000:
            time.sleep(message.event_id / 1000)
        note(f"end {message.event_id}")

    note(f"metrics {metrics.serve_metrics(0)}")
    engine = build_engine(database_url, pool_size=2)
    background_threads = operator_threads(broker, engine, rabbitmq_url, ["webhooks"])
    return run_worker(
        broker, ["webhooks"], threads=int(threads), prefetch=int(prefetch), background_threads=background_threads
    )


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
