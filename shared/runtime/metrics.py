"""Metrics of the shared runtime: in seconds, prefixed `nouba_`, without labels that a stranger can choose.

A service with one process serves its registry. Processes that share a port (gunicorn) share a directory instead:
set PROMETHEUS_MULTIPROC_DIR before Python starts them, empty it first, and serve the directory from one of them.
"""

import functools
import os
import platform
import threading
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dramatiq import Broker, MessageProxy, Worker
from dramatiq.middleware import Middleware
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, start_http_server
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

__all__ = ["MessageMetrics", "child", "leave_out_this_process", "registry", "retire_process", "serve_metrics"]

#: Held while the files of an ended process are added up.
_changing = threading.Lock()
_JOB_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 2 * 3600)
_ATTEMPTS = (1, 2, 3, 5, 8, 12, 20)
_WAIT_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 4 * 3600, 24 * 3600)

MESSAGES = Counter("nouba_messages_total", "Messages by outcome: done, retried or dead.", ["queue", "actor", "outcome"])
MESSAGE_SECONDS = Histogram(
    "nouba_message_duration_seconds", "Time that a handler took.", ["queue", "actor"], buckets=_JOB_SECONDS
)
QUEUE_SECONDS = Histogram(
    "nouba_message_queue_seconds",
    (
        "Time from the moment a message was due until its handler began; a first attempt "
        "counts from the transaction that caused it."
    ),
    ["queue", "actor"],
    buckets=_WAIT_SECONDS,
)
MESSAGE_ATTEMPTS = Histogram(
    "nouba_message_attempts",
    "Attempts that a message took until it was done or dead.",
    ["queue", "actor"],
    buckets=_ATTEMPTS,
)
MESSAGES_IN_PROGRESS = Gauge(
    "nouba_messages_in_progress", "Messages that a handler works on now.", ["queue"], multiprocess_mode="livesum"
)
WORKER_THREADS = Gauge(
    "nouba_worker_threads", "Messages that this process can handle at once.", ["queue"], multiprocess_mode="livesum"
)
REDELIVERIES = Counter(
    "nouba_message_redeliveries_total", "Redelivered messages: a worker died while processing them.", ["queue"]
)
RELAY_PUBLISHED = Counter("nouba_relay_published_total", "Messages that RabbitMQ confirmed.", ["service"])
RELAY_UNCONFIRMED = Counter(
    "nouba_relay_unconfirmed_total", "Messages that RabbitMQ did not confirm; they are sent again.", ["service"]
)
OUTBOX_PENDING = Gauge(
    "nouba_outbox_pending_messages", "Messages in the outbox.", ["service"], multiprocess_mode="livemostrecent"
)
OUTBOX_AGE_SECONDS = Gauge(
    "nouba_outbox_oldest_age_seconds", "Age of the oldest message in the outbox; 0 when it is empty.", ["service"],
    multiprocess_mode="livemostrecent",
)  # fmt: skip
# of the process that starts the others, which is left out of all that is said of the living
BUILD_INFO = Gauge(
    "nouba_build_info", "What runs here; the value is always 1.", ["version", "python"], multiprocess_mode="max"
)
STARTED = Gauge("nouba_start_timestamp_seconds", "When the process started.", multiprocess_mode="max")


def registry() -> CollectorRegistry:
    """What to show: everything of this process, or of all processes that share the directory."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    shared = CollectorRegistry()
    _Unchanging(shared)  # type: ignore[no-untyped-call]
    return shared


def leave_out_this_process() -> None:
    """Leave this process out where several add up: it only supervises them, and its values are all zero."""
    mark_process_dead(os.getpid())  # type: ignore[no-untyped-call]


def retire_process(pid: int) -> None:
    """Add the counts of an ended process to those of all that have ended, and remove its files.

    Else each process that a server ever replaced would be read at every scrape.
    """
    directory = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
    with _changing:
        # the starting process alone sets what is not about the living
        for file in directory.glob(f"gauge_*_{pid}.db"):
            file.unlink()
        for kind in ("counter", "histogram", "summary"):
            file = directory / f"{kind}_{pid}.db"
            if file.exists():
                _add(file, directory / f"{kind}_ended.db")
                file.unlink()


def _add(file: Path, to: Path) -> None:
    total = MmapedDict(str(to))  # type: ignore[no-untyped-call]
    try:
        for key, value, timestamp, _ in MmapedDict.read_all_values_from_file(str(file)):  # type: ignore[no-untyped-call]
            before, _ = total.read_value(key)  # type: ignore[no-untyped-call]
            total.write_value(key, before + value, timestamp)  # type: ignore[no-untyped-call]
    finally:
        total.close()  # type: ignore[no-untyped-call]


class _Unchanging(MultiProcessCollector):
    """Reads the files of all processes while none is being retired: its counts would be missing, or there twice."""

    def collect(self) -> Any:
        with _changing:
            return super().collect()  # type: ignore[no-untyped-call]


def serve_metrics(port: int, host: str = "127.0.0.1") -> int:
    """Answer Prometheus on `port` from a thread of this process, and return the port; 0 lets the system choose."""
    BUILD_INFO.labels(version("nouba"), platform.python_version()).set(1)
    STARTED.set(time.time())
    server, _ = start_http_server(port, addr=host, registry=registry())
    return int(server.server_port)


@functools.cache
def child(metric: Any, *labels: str) -> Any:
    """`metric.labels(*labels)`, cached: the lookup takes longer than counting. Not for labels from outside."""
    return metric.labels(*labels)


class MessageMetrics(Middleware):
    """Counts and times every job. Stands first in the list, so that it sees what the retries decided."""

    def __init__(self) -> None:
        self._started = threading.local()

    def after_worker_boot(self, broker: Broker, worker: Worker) -> None:
        for queue_name in worker.consumer_whitelist or broker.get_declared_queues():
            WORKER_THREADS.labels(queue_name).set(worker.worker_threads)

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        self._started.at = time.monotonic()
        due_at_ms = message.options.get("enqueued_at_ms", message.message_timestamp)
        waited_seconds = max(0.0, time.time() - due_at_ms / 1000)
        child(QUEUE_SECONDS, message.queue_name, message.actor_name).observe(waited_seconds)
        child(MESSAGES_IN_PROGRESS, message.queue_name).inc()
        if getattr(message, "delivery_count", 0):
            child(REDELIVERIES, message.queue_name).inc()

    def after_process_message(
        self, broker: Broker, message: Any, *, result: object = None, exception: BaseException | None = None
    ) -> None:
        outcome = "dead" if message.failed else "retried" if exception is not None else "done"
        child(MESSAGES, message.queue_name, message.actor_name, outcome).inc()
        if outcome != "retried":
            # the retries have counted a failure already
            attempts = message.options.get("retries", 0) + (outcome == "done")
            child(MESSAGE_ATTEMPTS, message.queue_name, message.actor_name).observe(max(1, attempts))
        child(MESSAGE_SECONDS, message.queue_name, message.actor_name).observe(time.monotonic() - self._started.at)
        child(MESSAGES_IN_PROGRESS, message.queue_name).dec()
