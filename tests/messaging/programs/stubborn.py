"""A worker whose jobs will not end in time: `stubborn <rabbitmq_url> <journal> <shutdown_timeout_seconds>`.

The event id says how the job spends ten seconds: 1 in Python, 2 in one call of the system, 3 waiting for a child that
it checks again and again, as the transcoder waits for ffmpeg. Their time limit is one second.
"""

import subprocess
import sys
import time
from pathlib import Path

from dramatiq.middleware import Interrupt

from shared.contracts.webhooks import WebhookReceived
from shared.messaging.actors import actor
from shared.messaging.broker import build_broker
from shared.messaging.worker import run_worker
from shared.runtime import logs

WORK_SECONDS = 10.0


def main(rabbitmq_url: str, journal: str, shutdown_timeout_seconds: str) -> int:
    logs.configure("test")
    broker = build_broker(rabbitmq_url)

    def note(line: str) -> None:
        with Path(journal).open("a") as file:
            file.write(f"{line}\n")

    @actor(broker, WebhookReceived, max_retries=0, min_backoff_ms=100, max_backoff_ms=100, time_limit_ms=1000)
    def work(message: WebhookReceived) -> None:
        began = time.monotonic()
        note(f"begin {message.event_id}")
        try:
            _spend(message.event_id, began)
            note(f"end {message.event_id}")
        except Interrupt as interrupt:
            note(f"{type(interrupt).__name__} {message.event_id} {time.monotonic() - began:.1f}")
            raise

    return run_worker(broker, ["webhooks"], threads=3, shutdown_timeout_seconds=float(shutdown_timeout_seconds))


def _spend(how: int, began: float) -> None:
    if how == 1:
        while time.monotonic() - began < WORK_SECONDS:
            sum(range(1000))
    elif how == 2:
        time.sleep(WORK_SECONDS)
    else:
        child = subprocess.Popen(["sleep", str(WORK_SECONDS)])
        try:
            while child.poll() is None:
                time.sleep(0.05)
        finally:
            child.kill()
            child.wait()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
