"""A Celery task that does nothing, acknowledged after it, as its documentation has it."""

import os

from celery import Celery

from bench.message_counter import Count

QUEUE = "celery_noop"

app = Celery(broker=os.environ["BENCH_RABBITMQ_URL"])
app.conf.task_default_queue = QUEUE
app.conf.task_acks_late = True
app.conf.task_ignore_result = True
app.conf.worker_prefetch_multiplier = 4
count = Count() if "BENCH_COUNT" in os.environ else None


@app.task(name="nothing")  # type: ignore[untyped-decorator]
def nothing(event_id: int) -> None:
    """Called with what Nouba's worker is called with."""
    assert event_id
    assert count
    count.add()
