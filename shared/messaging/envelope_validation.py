"""Validates the envelope of a received message: dramatiq trusts each field, and one wrong type or name ends a worker.

RabbitMQ lets every user that may publish at all publish to every queue (docs/containers.md), so the envelope is as
foreign as the fields in it.
"""

import time
from typing import Any

from shared.messaging.actors import MAX_BACKOFF_MS

#: What dramatiq, its retries and our replays write into a message.
_NUMBERS = frozenset({"eta", "retries", "enqueued_at_ms", "requeue_timestamp", "replays"})
_TEXTS = frozenset({"error", "traceback"})
#: No number of a message is larger: a JSON document may hold one that no float can.
_LARGEST = 2**53
#: A delayed message waits in a worker's memory; the clocks of two machines differ a little.
_MAX_DELAY_MS = 2 * MAX_BACKOFF_MS
_MAX_ID = 255


def fault_of(message: Any, queue_name: str) -> str | None:
    """What is wrong with the envelope of a message of `queue_name`, None for one of ours; never a word of it.

    Drops the options that nobody of ours sets.
    """
    if message.queue_name != queue_name:
        return "it names another queue"
    if not isinstance(message.actor_name, str) or not isinstance(message.kwargs, dict):
        return "its actor or its fields have another form"
    if not isinstance(message.message_id, str) or len(message.message_id) > _MAX_ID:
        return "its id is no short text"
    if not _is_number(message.message_timestamp):
        return "its time is no number"
    if not isinstance(message.options, dict):
        return "its options have another form"
    return _fault_of_options(message.options)


def _fault_of_options(options: dict[str, Any]) -> str | None:
    # any other rules the retries, the time limit or what is published next, which is no sender's choice
    for name in options.keys() - _NUMBERS - _TEXTS:
        del options[name]
    for name, value in options.items():
        if not (_is_number(value) if name in _NUMBERS else isinstance(value, str)):
            return f"its option {name} has another form"
    if options.get("eta", 0) > time.time() * 1000 + _MAX_DELAY_MS:
        return "it is due later than any retry"
    return None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _LARGEST
