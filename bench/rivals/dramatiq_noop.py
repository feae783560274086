"""A dramatiq actor that does nothing, for dramatiq's own command, as its documentation has it."""

import os

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker

from bench.message_counter import Count

QUEUE = "dramatiq_noop"

dramatiq.set_broker(RabbitmqBroker(url=os.environ["BENCH_RABBITMQ_URL"]))
count = Count()


@dramatiq.actor(queue_name=QUEUE)
def nothing(event_id: int) -> None:
    """Called with what Nouba's worker is called with."""
    assert event_id
    count.add()
