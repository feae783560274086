"""A taskiq task that does nothing, as its documentation has it."""

import os

from taskiq_aio_pika import AioPikaBroker, Queue

from bench.message_counter import Count

QUEUE = "taskiq_noop"

broker = AioPikaBroker(os.environ["BENCH_RABBITMQ_URL"]).with_queue(Queue(name=QUEUE))
count = Count() if "BENCH_COUNT" in os.environ else None


@broker.task(task_name="nothing")
async def nothing(event_id: int) -> None:
    """Called with what Nouba's worker is called with."""
    assert event_id
    assert count
    count.add()
