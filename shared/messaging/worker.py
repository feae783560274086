"""Runs the actors of one service and its background threads in this process, until it is stopped.

dramatiq's own command forks, and cannot restrict what a thread of ours publishes; one process is easier to watch.
More processes are more of these.
"""

import gc
import os
import queue
import signal
from collections.abc import Sequence
from types import FrameType
from typing import Protocol

import dramatiq
import structlog
from dramatiq import Worker

from shared.messaging.broker import QuorumBroker

log = structlog.get_logger(__name__)

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
#: Longer than the longest job that is worth waiting for; a container's grace has to be longer still.
SHUTDOWN_TIMEOUT_SECONDS = 25.0
#: Messages to hold for each thread where a job takes milliseconds: with two, threads wait for RabbitMQ between jobs.
SHORT_JOBS = 8
#: How long an idle thread sleeps: the precision of a retry's delay, and what a stop costs at least.
IDLE_MS = 500


class BackgroundThread(Protocol):
    """A thread that lives as long as the worker: the relay, a sweeper."""

    def start(self) -> None: ...

    def stop(self, timeout_seconds: float = ...) -> None: ...


def run_worker(
    broker: dramatiq.Broker,
    queues: Sequence[str],
    *,
    threads: int,
    prefetch: int | None = None,
    background_threads: Sequence[BackgroundThread] = (),
    shutdown_timeout_seconds: float = SHUTDOWN_TIMEOUT_SECONDS,
) -> int:
    """Work until SIGTERM or SIGINT, then finish the jobs in hand, give back the rest and return the exit status.

    Only `queues` are consumed, even where the actors publish to others. `prefetch` is how many messages RabbitMQ hands
    out beforehand, two a thread unless given; SHORT_JOBS a thread where jobs are short, one where a job may kill the
    process, so that no innocent message is counted with it. A second signal ends the process at once.
    """
    signals: queue.SimpleQueue[int] = queue.SimpleQueue()  # the one queue that a signal handler may write to

    def on_signal(signum: int, _frame: FrameType | None) -> None:
        received.append(signum)
        if len(received) > 1:
            os._exit(1)
        signals.put(signum)

    received: list[int] = []
    worker = _build(broker, queues, threads, prefetch)
    for signum in STOP_SIGNALS:
        signal.signal(signum, on_signal)
    for thread in background_threads:
        thread.start()
    # what is here now stays: neither a search for garbage nor the end of the process has to walk it
    gc.freeze()
    broker.emit_after("process_boot")
    worker.start()
    log.info("worker started", queues=sorted(queues), threads=threads, pid=os.getpid())
    status = _wait(worker, signals)
    worker.stop(timeout=int(shutdown_timeout_seconds * 1000))
    for thread in reversed(background_threads):
        thread.stop()
    broker.close()
    log.info("worker stopped", status=status)
    return status


def _build(broker: dramatiq.Broker, queues: Sequence[str], threads: int, prefetch: int | None) -> Worker:
    served = {actor.queue_name for actor in broker.actors.values()}
    if not queues or not served.issuperset(queues):
        # dramatiq would consume every queue where none is named, and none where no actor belongs to it.
        raise ValueError(f"a worker takes queues that its actors serve ({sorted(served)}), not {sorted(queues)}")
    worker = Worker(broker, queues=set(queues), worker_threads=threads, worker_timeout=IDLE_MS)
    if prefetch is not None:
        worker.queue_prefetch = prefetch
    if isinstance(broker, QuorumBroker):
        broker.holds_messages = worker.queue_prefetch > threads
    return worker


def _wait(worker: Worker, signals: "queue.SimpleQueue[int]") -> int:
    """Return 0 when stopped; 1 when a thread has died, which dramatiq would not notice."""
    while True:
        try:
            signum = signals.get(timeout=1.0)
        except queue.Empty:
            dead = [thread.name for thread in (*worker.workers, *worker.consumers.values()) if not thread.is_alive()]
            if dead:
                log.error("a thread of the worker died; the process ends so that its supervisor starts it again")
                return 1
        else:
            log.info("worker stopping: finishing the jobs in hand", signal=signal.Signals(signum).name)
            return 0
