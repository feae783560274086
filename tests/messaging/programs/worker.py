"""A worker on `webhooks` whose event id says what to do: `worker <rabbitmq_url> <journal> <threads> <prefetch>`.

0 kills the process, 1 fails for good, 2 fails and may be tried again, below 1000 is only noted, and from 1000 on the
job takes that many milliseconds.
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
from shared.runtime import logs, metrics


class HopelessError(Exception):
    """Trying again does not help."""


def main(rabbitmq_url: str, journal: str, threads: str, prefetch: str) -> int:
    logs.configure("test")
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
            raise RuntimeError("the canary is in here")
        if message.event_id >= 1000:
            time.sleep(message.event_id / 1000)
        note(f"end {message.event_id}")

    note(f"metrics {metrics.serve_metrics(0)}")
    return run_worker(broker, ["webhooks"], threads=int(threads), prefetch=int(prefetch) or None)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
