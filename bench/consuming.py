"""How many messages a second a worker takes that has nothing to do: all of them wait when it starts."""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import click
import dramatiq
import pika
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from pika.adapters.blocking_connection import BlockingChannel

from bench.running import running
from services.webhook_gateway.settings import GatewaySettings
from shared.contracts.webhooks import WebhookReceived
from shared.messaging.actors import encode_message
from shared.messaging.broker import build_broker

_PROJECT = Path(__file__).parent.parent
_THREADS = str(GatewaySettings.model_fields["worker_threads"].default)
_RIVAL = [sys.executable, "-m", "dramatiq", "bench.rivals.dramatiq_noop", "--processes", "1", "--threads", _THREADS]
_RIVAL_QUEUE = "dramatiq_noop"
_CELERY = [sys.executable, "-m", "celery", "-A", "bench.rivals.celery_noop", "worker", "--pool", "threads"]
_CELERY += ["--concurrency", _THREADS, "--without-gossip", "--without-mingle", "--without-heartbeat"]
_TASKIQ = [sys.executable, "-m", "taskiq", "worker", "bench.rivals.taskiq_noop:broker", "--workers", "1"]


def contenders(rabbitmq_url: str, folder: Path, count: int) -> dict[str, Callable[[], float]]:
    """One process with as many threads: Nouba's worker, and the others' commands with their own kind of queue."""
    ours: dramatiq.Message[None] = dramatiq.Message(**{**encode_message(WebhookReceived(event_id=1)), "args": ()})
    theirs = ours.copy(queue_name=_RIVAL_QUEUE, actor_name="nothing")
    start = partial(_consume, rabbitmq_url, folder, count)
    return {
        "nouba's worker": partial(start, [sys.executable, "-m", "bench.noop_worker"], ours, build_broker),
        "dramatiq as it comes": partial(start, _RIVAL, theirs, lambda url: RabbitmqBroker(url=url)),
        "celery, threads": partial(_take, rabbitmq_url, folder, count, _CELERY, _fill_celery),
        "taskiq": partial(_take, rabbitmq_url, folder, count, _TASKIQ, _fill_taskiq),
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
        # a connection that closes takes along what its channel has not handed on
        _wait_until_kept(channel, message.queue_name, count)
    return _run(command, rabbitmq_url, folder, count)


def _wait_until_kept(channel: BlockingChannel, queue: str, count: int) -> None:
    deadline = time.monotonic() + 60
    while (kept := channel.queue_declare(queue, passive=True).method.message_count) < count:
        if time.monotonic() > deadline:
            raise click.ClickException(f"Of {count} messages {kept} are in the queue {queue}.")
        time.sleep(0.05)


def _take(rabbitmq_url: str, folder: Path, count: int, command: Sequence[str], fill: Callable[[int], None]) -> float:
    # their applications are made when they are imported, with this address
    os.environ["BENCH_RABBITMQ_URL"] = rabbitmq_url
    fill(count)
    return _run(command, rabbitmq_url, folder, count)


def _run(command: Sequence[str | Path], rabbitmq_url: str, folder: Path, count: int) -> float:
    result = folder / "rate"
    result.unlink(missing_ok=True)
    settings = {"BENCH_RABBITMQ_URL": rabbitmq_url, "BENCH_COUNT": str(count), "BENCH_RESULT": str(result)}
    with running(command, settings, folder / "noop.log", folder=_PROJECT) as worker:
        worker.wait(lambda: result.exists() and result.read_text(), "did not take all messages", 120)
    return float(result.read_text())


def _fill_celery(count: int) -> None:
    from bench.rivals import celery_noop

    with celery_noop.app.producer_pool.acquire() as producer:
        for _ in range(count):
            celery_noop.nothing.apply_async((1,), producer=producer)


def _fill_taskiq(count: int) -> None:
    from taskiq_aio_pika import AioPikaBroker, Queue

    from bench.rivals import taskiq_noop

    async def send() -> None:
        broker = AioPikaBroker(os.environ["BENCH_RABBITMQ_URL"])
        broker = broker.with_queue(Queue(name=taskiq_noop.QUEUE))
        task = broker.task(task_name="nothing")(taskiq_noop.nothing.original_func)
        await broker.startup()
        for _ in range(0, count, 100):
            await asyncio.gather(*(task.kiq(1) for _ in range(100)))
        await broker.shutdown()

    asyncio.run(send())
