"""What lets operators keep hold of a service's queues: its dead letters are collected, its pauses obeyed."""

from collections.abc import Sequence

from sqlalchemy import Engine

from shared.runtime.broker import QuorumBroker
from shared.runtime.dead_letters.collector import Collector
from shared.runtime.queues.pauses import PauseWatch
from shared.runtime.worker import Companion


def operated(broker: QuorumBroker, engine: Engine, rabbitmq_url: str, queues: Sequence[str]) -> list[Companion]:
    """The threads for a worker of `queues`; make them before it starts. They use two connections of `engine`."""
    return [Collector(broker, engine, rabbitmq_url, queues), PauseWatch(broker, engine, queues)]
