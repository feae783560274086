"""How a service says something: the message becomes a row of the transaction that causes it."""

import json

from sqlalchemy import Connection, insert

from shared.contracts.message import Message
from shared.runtime.messaging import envelope
from shared.schema.tables import outbox

#: A message carries ids. RabbitMQ would close the connection on one beyond its own limit, and block all behind it.
LARGEST_MESSAGE_BYTES = 64 * 1024


def add(connection: Connection, service: str, message: Message) -> str:
    """Promise `message` within the caller's transaction, and return its id; the relay of `service` sends it.

    Wake the relay after the commit, so that it does not wait for its next poll.
    """
    row = envelope(message)
    if (size := len(json.dumps(row))) > LARGEST_MESSAGE_BYTES:
        raise ValueError(
            f"{message.wire_name()} of {size} bytes is over {LARGEST_MESSAGE_BYTES}; store it and send its id"
        )
    connection.execute(insert(outbox).values(service=service, message=row))
    return str(row["message_id"])
