"""Queue figures of RabbitMQ: counts by AMQP, rates by the management API."""

import base64
import http.client
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import pika
from pika.exceptions import ChannelClosedByBroker

from shared.messaging.broker import connection_parameters
from shared.runtime.translatable_sentence import Sentence

#: A management API that does not answer within this is treated as away.
TIMEOUT_SECONDS = 3.0


class ManagementUnavailableError(Exception):
    """The management API does not answer, or refuses us; the message says the fix."""


@dataclass(frozen=True, slots=True)
class Counted:
    """Counts of one queue by AMQP, current."""

    ready: int
    consumers: int


@dataclass(frozen=True, slots=True)
class Measured:
    """Rates and counts by the management API; for a quorum queue up to five seconds old."""

    unacknowledged: int
    arrivals_per_second: float
    departures_per_second: float


def ask_management(management_url: str, rabbitmq_url: str) -> Mapping[str, Measured]:
    """All queues of the virtual host, with rates over the last seconds. Raises ManagementAway."""
    host = quote(pika.URLParameters(rabbitmq_url).virtual_host, safe="")
    queues = _get(management_url, rabbitmq_url, f"/api/queues/{host}")
    return {queue["name"]: _measured(queue) for queue in queues}


def ask_amqp(rabbitmq_url: str, queues: Sequence[str]) -> Mapping[str, Counted]:
    """Those of `queues` that exist. Raises pika's AMQPError where RabbitMQ is away."""
    found = {}
    connection = pika.BlockingConnection(connection_parameters(rabbitmq_url, heartbeat_seconds=30))
    try:
        for queue in queues:
            channel = connection.channel()
            try:
                declared = channel.queue_declare(queue, passive=True).method
            except ChannelClosedByBroker as error:
                if error.reply_code != http.client.NOT_FOUND:
                    raise
            else:
                found[queue] = Counted(declared.message_count, declared.consumer_count)
                channel.close()
    finally:
        connection.close()
    return found


def _measured(queue: Mapping[str, Any]) -> Measured:
    # a queue that nothing has ever come into has no statistics
    rates = queue.get("message_stats") or {}
    return Measured(
        unacknowledged=int(queue.get("messages_unacknowledged", 0)),
        arrivals_per_second=float(rates.get("publish_details", {}).get("rate", 0.0)),
        departures_per_second=float(rates.get("ack_details", {}).get("rate", 0.0)),
    )


def _get(management_url: str, rabbitmq_url: str, path: str) -> Any:
    address = urlsplit(management_url)
    credentials = pika.URLParameters(rabbitmq_url).credentials
    basic = base64.b64encode(f"{credentials.username}:{credentials.password}".encode()).decode()
    kind = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
    try:
        connection = kind(address.hostname or "", address.port, timeout=TIMEOUT_SECONDS)
        try:
            connection.request("GET", address.path.rstrip("/") + path, headers={"Authorization": f"Basic {basic}"})
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
    except (OSError, http.client.HTTPException) as error:
        raise ManagementUnavailableError(
            Sentence("the management API does not answer (%(error)s)", error=type(error).__name__)
        ) from error
    if answer.status in (http.client.UNAUTHORIZED, http.client.FORBIDDEN):
        raise ManagementUnavailableError(
            Sentence(
                "the management API refuses %(user)s: give that user the tag `management`",
                user=repr(credentials.username),
            )
        )
    if answer.status != http.client.OK:
        raise ManagementUnavailableError(Sentence("the management API answers %(status)s", status=answer.status))
    return json.loads(body)
