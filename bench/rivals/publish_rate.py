"""Measures how many confirmed messages a second bare pika and dramatiq publish: rivals of Nouba's relay."""

import time
from typing import Any

import dramatiq
import pika
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from pika.adapters.select_connection import SelectConnection

#: Messages under way without a confirm.
_WINDOW = 1000
_PERSISTENT = pika.BasicProperties(delivery_mode=2)


def pipelined(rabbitmq_url: str, queue: str, body: bytes, count: int) -> float:
    """The limit: an event-driven connection with many confirms outstanding, and nothing else to do."""
    return _Pipeline(rabbitmq_url, queue, body, count).run()


def dramatiq_send(rabbitmq_url: str, body: bytes, count: int) -> float:
    """`actor.send` with `confirm_delivery`, which waits for each confirm."""
    broker = RabbitmqBroker(url=rabbitmq_url, confirm_delivery=True)
    actor = dramatiq.actor(actor_name="nothing", queue_name="dramatiq_rival", broker=broker)(_nothing)
    text = body.decode()
    actor.send(text)
    began = time.perf_counter()
    for _ in range(count):
        actor.send(text)
    rate = count / (time.perf_counter() - began)
    broker.close()
    return rate


def _nothing(_body: str) -> None:
    """Never called: there is no worker, only the sending is measured."""


class _Pipeline:
    def __init__(self, rabbitmq_url: str, queue: str, body: bytes, count: int) -> None:
        self._queue, self._body, self._count = queue, body, count
        self._sent = self._confirmed = 0
        self._began = self._ended = 0.0
        self._channel: Any = None
        self._connection = SelectConnection(
            pika.URLParameters(rabbitmq_url), on_open_callback=lambda it: it.channel(on_open_callback=self._opened)
        )

    def run(self) -> float:
        self._connection.ioloop.start()
        return self._count / (self._ended - self._began)

    def _opened(self, channel: Any) -> None:
        self._channel = channel
        quorum = {"x-queue-type": "quorum"}
        channel.queue_declare(self._queue, durable=True, arguments=quorum, callback=self._declared)

    def _declared(self, _frame: Any) -> None:
        self._channel.confirm_delivery(self._answered, callback=self._begin)

    def _begin(self, _frame: Any) -> None:
        self._began = time.perf_counter()
        self._pump()

    def _pump(self) -> None:
        while self._sent < self._count and self._sent - self._confirmed < _WINDOW:
            self._channel.basic_publish("", self._queue, self._body, _PERSISTENT, mandatory=True)
            self._sent += 1

    def _answered(self, frame: Any) -> None:
        # tags are counted from 1 and confirmed in order on a queue that is alone on its channel
        self._confirmed = frame.method.delivery_tag if frame.method.multiple else self._confirmed + 1
        if self._confirmed < self._count:
            self._pump()
        elif not self._ended:
            self._ended = time.perf_counter()
            self._connection.add_on_close_callback(lambda *_: self._connection.ioloop.stop())
            self._connection.close()
