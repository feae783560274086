"""Operator threads of a worker: dead-letter collector and queue pauses."""

from collections.abc import Sequence

from sqlalchemy import Engine

from shared.messaging.broker import QuorumBroker
from shared.messaging.worker import BackgroundThread
from shared.operations.dead_letters.collector import Collector
from shared.operations.queues.pauses import PauseWatch


def operator_threads(
    broker: QuorumBroker, engine: Engine, rabbitmq_url: str, queues: Sequence[str]
) -> list[BackgroundThread]:
    """The threads for a worker of `queues`; make them before it starts. They use two connections of `engine`."""
    return [Collector(broker, engine, rabbitmq_url, queues), PauseWatch(broker, engine, queues)]
