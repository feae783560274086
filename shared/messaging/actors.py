"""Typed messages over dramatiq: the wire format of a contract, and the actor that handles it."""

import time
import uuid
from collections.abc import Callable
from typing import Any, TypeVar

import dramatiq
from dramatiq.middleware import CurrentMessage

from shared.contracts.message import ContractError, Message
from shared.contracts.routes import route_of

#: Delayed messages live in a worker's memory, unacknowledged. Beyond this RabbitMQ's consumer timeout (30 minutes
#: unless set otherwise) takes them away; longer waits are rows with a due time.
MAX_BACKOFF_MS = 15 * 60 * 1000

M = TypeVar("M", bound=Message)
Handler = Callable[[M], None]


def encode_message(message: Message, message_id: str | None = None) -> dict[str, Any]:
    """`message` as dramatiq has it on the wire; one key more, and dramatiq could not read it."""
    return {
        "queue_name": route_of(type(message)).queue,
        "actor_name": message.wire_name(),
        "args": [],
        "kwargs": message.dump(),
        "options": {},
        "message_id": message_id or str(uuid.uuid4()),
        "message_timestamp": int(time.time() * 1000),
    }


def was_delivered_before() -> bool:
    """Whether RabbitMQ has delivered the message in hand to a worker before: one that died of it, or was stopped."""
    message = CurrentMessage.get_current_message()
    return message is not None and getattr(message, "delivery_count", 0) > 0


def actor(
    broker: dramatiq.Broker,
    message_type: type[M],
    *,
    max_retries: int,
    min_backoff_ms: int,
    max_backoff_ms: int,
    time_limit_ms: int,
    permanent: tuple[type[Exception], ...] = (),
    notify_shutdown: bool = False,
) -> Callable[[Handler[M]], Handler[M]]:
    """Make the function below the one handler of `message_type`; it stays an ordinary function for everybody else.

    A message that breaks its contract and the errors in `permanent` go to the dead-letter queue without a retry.
    """
    if max_backoff_ms > MAX_BACKOFF_MS:
        raise ValueError(
            f"max_backoff_ms of {message_type.wire_name()} is {max_backoff_ms}, at most {MAX_BACKOFF_MS} is safe; "
            "keep a row with a due time for anything longer"
        )

    def declare(handler: Handler[M]) -> Handler[M]:
        def receive(*positional: object, **fields: object) -> None:
            if positional:
                raise ContractError(f"{message_type.wire_name()} has fields by name only")
            handler(message_type.load(fields))

        receive.__module__ = handler.__module__
        dramatiq.actor(
            actor_name=message_type.wire_name(),
            queue_name=route_of(message_type).queue,
            broker=broker,
            max_retries=max_retries,
            min_backoff=min_backoff_ms,
            max_backoff=max_backoff_ms,
            time_limit=time_limit_ms,
            throws=(ContractError, *permanent),
            notify_shutdown=notify_shutdown,
        )(receive)
        return handler

    return declare
