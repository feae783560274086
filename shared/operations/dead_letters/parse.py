"""Parses a message of a `.XQ`: contents, cause, and which failure it is."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pika
from dramatiq import DecodeError, Message

#: A message's id is part of a key; a longer one is a stranger's.
MAX_ID = 200
#: RabbitMQ's own reasons are shorter; a longer one is a stranger's, too.
MAX_REASON = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One dead message; the columns of table `dead_letters` have the same names."""

    queue: str
    message_id: str
    cause: str
    error: str | None
    actor: str | None
    arguments: Any
    attempts: int
    message: bytes
    x_death: Any
    death: str
    replays: int
    died_at: datetime


def read_letter(queue: str, properties: pika.BasicProperties, body: bytes, max_retries: Mapping[str, int]) -> Letter:
    """What lies in the `.XQ` of `queue`. `max_retries` are those of the actors that the queue's worker knows."""
    x_death = _x_death(properties)
    last_death = x_death[0] if isinstance(x_death, list) and x_death and isinstance(x_death[0], dict) else {}
    message = _decoded(body)
    options = message.options if message is not None and isinstance(message.options, dict) else {}
    retries, replays = _count(options.get("retries")), _count(options.get("replays"))
    actor = message.actor_name if message is not None and isinstance(message.actor_name, str) else None
    reason = storable(str(last_death.get("reason", "rejected")))[:MAX_REASON]
    cause, error = _explain(message, actor, reason, retries, options.get("error"), max_retries)
    return Letter(
        queue=queue,
        message_id=_identity(message, properties, body),
        cause=cause,
        error=None if error is None else storable(error),
        actor=None if actor is None else storable(actor),
        arguments=None if message is None else storable(_arguments(message)),
        attempts=retries + 1,
        message=body,
        x_death=storable(x_death),
        death=hashlib.sha256(body + repr(x_death).encode()).hexdigest(),
        replays=replays,
        died_at=_instant(last_death.get("time")),
    )


def _x_death(properties: pika.BasicProperties) -> Any:
    """Where the message died, None where PostgreSQL could not keep it: the publisher may have written it."""
    x_death = (properties.headers or {}).get("x-death")
    try:
        storable(x_death)
        repr(x_death)
    except (ValueError, RecursionError):
        return None
    return x_death


def storable(value: Any) -> Any:
    """`value` as PostgreSQL takes it: text without NUL and without halves of characters, in what JSON knows."""
    if isinstance(value, str):
        return value.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {storable(str(key)): storable(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [storable(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is no number of JSON")
    if value is None or isinstance(value, bool | int | float):
        return value
    return value.isoformat() if isinstance(value, datetime) else storable(str(value))


def _decoded(body: bytes) -> "Message[Any] | None":
    """The message as dramatiq would read it; None where it could not, or where PostgreSQL could not keep it."""
    try:
        # JSON knows no NaN, though Python's reader does
        json.loads(body, parse_constant=_refuse_constant)
        message: Message[Any] = Message.decode(body)
        if not (isinstance(message.kwargs, dict) and isinstance(message.args, list | tuple)):
            return None
        storable([list(message.args), dict(message.kwargs), message.options])
    except (DecodeError, ValueError, TypeError, RecursionError):
        return None
    return message


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _explain(
    message: "Message[Any] | None",
    actor: str | None,
    reason: str,
    retries: int,
    earlier: object,
    max_retries: Mapping[str, int],
) -> tuple[str, str | None]:
    """The cause, and the sentence where it is known without the worker that gave the message up."""
    before = f"An earlier attempt failed with {earlier}" if isinstance(earlier, str) else None
    if reason == "delivery_limit":
        killed = "Its worker died, or lost RabbitMQ, each time it was delivered."
        return reason, f"{killed} {before}" if before else killed
    if message is None:
        return "undecodable", "The body is not a message that dramatiq can read."
    if reason != "rejected":
        return reason, f"RabbitMQ took it out of the queue ({reason})."
    if actor is None or actor not in max_retries:
        return "unknown_actor", "No worker of this queue knows the actor: it was renamed, or is not deployed yet."
    return "retries" if retries >= max_retries[actor] else "permanent", before


def _identity(message: "Message[Any] | None", properties: pika.BasicProperties, body: bytes) -> str:
    candidates = (message.message_id if message is not None else None, properties.message_id)
    for candidate in candidates:
        if isinstance(candidate, str) and 0 < len(candidate) <= MAX_ID:
            return str(storable(candidate))
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def _arguments(message: "Message[Any]") -> dict[str, Any]:
    # a contract has fields by name only; anything else is a stranger's
    return {"*": message.args, **message.kwargs} if message.args else dict(message.kwargs)


def _count(value: object) -> int:
    return value if type(value) is int and 0 <= value < 1_000_000 else 0


def _instant(value: object) -> datetime:
    now = datetime.now(UTC)
    if not isinstance(value, datetime):
        return now
    # nobody has died tomorrow: that is a stranger's, and no zone has a date for the calendar's last hours
    return min(value if value.tzinfo else value.replace(tzinfo=UTC), now)
