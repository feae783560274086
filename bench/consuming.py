"""How many messages a second a worker takes that has nothing to do: all of them wait when it starts."""

import contextlib
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import dramatiq
import pika
from dramatiq.brokers.rabbitmq import RabbitmqBroker

from bench.running import running
from services.webhook_gateway.settings import GatewaySettings
from shared.contracts.webhooks import WebhookReceived
from shared.runtime.broker import build_broker
from shared.runtime.messaging import envelope

_PROJECT = Path(__file__).parent.parent
_THREADS = str(GatewaySettings.model_fields["worker_threads"].default)
_RIVAL = [sys.executable, "-m", "dramatiq", "bench.rivals.noop_worker", "--processes", "1", "--threads", _THREADS]
_RIVAL_QUEUE = "dramatiq_noop"


def contenders(rabbitmq_url: str, folder: Path, count: int) -> dict[str, Callable[[], float]]:
    """One process with as many threads: Nouba's worker, and dramatiq's command with dramatiq's own queue."""
    ours: dramatiq.Message[None] = dramatiq.Message(**{**envelope(WebhookReceived(event_id=1)), "args": ()})
    theirs = ours.copy(queue_name=_RIVAL_QUEUE, actor_name="nothing")
    start = partial(_consume, rabbitmq_url, folder, count)
    return {
        "nouba's worker": partial(start, [sys.executable, "-m", "bench.noop_worker"], ours, build_broker),
        "dramatiq as it comes": partial(start, _RIVAL, theirs, lambda url: RabbitmqBroker(url=url)),
    }


def _consume(
    rabbitmq_url: str,
    folder: Path,
    count: int,
    command: Sequence[str | Path],
    message: "dramatiq.Message[None]",
    make_broker: Callable[[str], RabbitmqBroker],
) -> float:
    with contextlib.closing(make_broker(rabbitmq_url)) as broker:
        broker.declare_queue(message.queue_name, ensure=True)
    with contextlib.closing(pika.BlockingConnection(pika.URLParameters(rabbitmq_url))) as connection:
        channel, body = connection.channel(), message.encode()
        channel.queue_purge(message.queue_name)
        for _ in range(count):
            channel.basic_publish("", message.queue_name, body, pika.BasicProperties(delivery_mode=2))
    result = folder / "rate"
    result.unlink(missing_ok=True)
    settings = {"BENCH_RABBITMQ_URL": rabbitmq_url, "BENCH_COUNT": str(count), "BENCH_RESULT": str(result)}
    with running(command, settings, folder / "noop.log", folder=_PROJECT) as worker:
        worker.wait(lambda: result.exists() and result.read_text(), "did not take all messages", 120)
    return float(result.read_text())
