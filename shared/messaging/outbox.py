"""The transactional outbox: a message is a row of the transaction that causes it."""

import json
from typing import Final, NamedTuple

from sqlalchemy import Connection

from shared.contracts.message import Message
from shared.messaging.actors import encode_message

#: A message carries ids. RabbitMQ would close the connection on one beyond its own limit, and block all behind it.
LARGEST_MESSAGE_BYTES = 64 * 1024

#: For a service and the body that `encode` makes; for those who write it along with something else.
ENQUEUE: Final = "INSERT INTO outbox (service, message) VALUES (%s, %s)"


class Encoded(NamedTuple):
    """A message as its row has it."""

    message_id: str
    body: str


def enqueue(connection: Connection, service: str, message: Message) -> str:
    """Enqueue `message` in the caller's transaction, and return its id; the relay of `service` publishes it.

    Wake the relay after the commit, so that it does not wait for its next poll.
    """
    encoded = encode(message)
    connection.exec_driver_sql(ENQUEUE, (service, encoded.body))
    return encoded.message_id


def encode(message: Message) -> Encoded:
    """What the row holds. Raises ValueError where that is too large."""
    row = encode_message(message)
    body = json.dumps(row)
    if len(body) > LARGEST_MESSAGE_BYTES:
        raise ValueError(
            f"{message.wire_name()} of {len(body)} bytes is over {LARGEST_MESSAGE_BYTES}; store it and send its id"
        )
    return Encoded(row["message_id"], body)
