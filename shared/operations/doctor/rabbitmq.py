"""Doctor check of RabbitMQ: login, publishing, queues, consumers."""

import contextlib
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pika
from pika.exceptions import (
    AMQPError,
    ChannelClosedByBroker,
    ConnectionBlockedTimeout,
    ProbableAccessDeniedError,
    ProbableAuthenticationError,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.contracts.routes import QUEUES
from shared.messaging.broker import connection_parameters
from shared.messaging.topology import Declaration, dead_queue, declarations
from shared.operations.doctor.findings import Finding, fault, fine, note, unknown
from shared.runtime.settings import RabbitMqUrl, read_settings

SUBJECT = "RabbitMQ"
#: RabbitMQ reports an alarm to a connection within milliseconds of its first publication.
BLOCKED_WAIT_SECONDS = 0.5
_NOT_FOUND, _OTHER_ARGUMENTS, _NOT_ALLOWED = 404, 406, 403


class _Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="NOUBA_", extra="ignore")

    rabbitmq_url: RabbitMqUrl


def check_rabbitmq() -> Iterator[Finding]:
    """The server, its alarms, and each queue."""
    parameters = connection_parameters(read_settings(_Settings).rabbitmq_url.get_secret_value(), heartbeat_seconds=30)
    parameters.blocked_connection_timeout = BLOCKED_WAIT_SECONDS
    try:
        yield _alarms(pika.BlockingConnection(parameters))
        connection = pika.BlockingConnection(parameters)
    except (AMQPError, OSError) as error:
        yield _refusal(error)
        yield unknown("queues", "RabbitMQ has to answer first")
        return
    try:
        for queue in QUEUES:
            yield from _queue(connection, queue)
    finally:
        connection.close()


def _refusal(error: Exception) -> Finding:
    if isinstance(error, ProbableAuthenticationError):
        return fault(SUBJECT, "RabbitMQ refuses the user or password of NOUBA_RABBITMQ_URL.", "Correct them in it.")
    if isinstance(error, ProbableAccessDeniedError):
        return fault(
            SUBJECT,
            "RabbitMQ has no such virtual host, or its user may not enter it.",
            "Correct the path of NOUBA_RABBITMQ_URL, or `rabbitmqctl add_vhost` and `set_permissions`.",
        )
    return fault(
        SUBJECT,
        "Nobody answers at the address of NOUBA_RABBITMQ_URL.",
        "Start RabbitMQ (`make up`), or correct the address.",
    )


def _alarms(connection: Any) -> Finding:
    """Publish on a connection of its own: under an alarm the server reads nothing more from it."""
    blocked: list[str] = []
    connection.add_on_connection_blocked_callback(lambda _, frame: blocked.append(frame.method.reason))
    with contextlib.suppress(ConnectionBlockedTimeout):
        # to a queue that nobody has: RabbitMQ drops it, but reports its alarms first
        connection.channel().basic_publish("", f"nouba-doctor-{uuid4().hex}", b"")
        connection.process_data_events(time_limit=BLOCKED_WAIT_SECONDS)
        connection.close()
    if not blocked:
        return fine(SUBJECT, "RabbitMQ answers and takes messages.")
    return fault(
        SUBJECT,
        f"RabbitMQ takes no messages ({blocked[0]}); nothing is lost, they wait in the database.",
        "Free memory or disk on its machine, or raise vm_memory_high_watermark or disk_free_limit.",
    )


def _queue(connection: Any, queue: str) -> Iterator[Finding]:
    missing = False
    for declaration in declarations(queue):
        found = _declared(connection, declaration)
        missing = missing or found is None
        if isinstance(found, Finding):
            yield found
            return
        if declaration.name == queue and found is not None:
            yield _worked_on(queue, found.consumer_count, found.message_count)
        if declaration.name == dead_queue(queue) and found is not None and found.message_count:
            yield note(
                f"queue {queue}",
                f"{found.message_count} dead messages have not been collected.",
                f"Start the worker of {queue}: it keeps them, and `nouba dead list` shows them.",
            )
    if missing:
        yield note(f"queue {queue}", "It does not exist yet.", "Start its worker, which declares it.")


def _declared(connection: Any, declaration: Declaration) -> Any:
    """What the server says of a queue; None where there is none, a finding where it is another than it should be."""
    subject = f"queue {declaration.name}"
    try:
        # never declared by the check
        found = connection.channel().queue_declare(declaration.name, passive=True).method
        connection.channel().queue_declare(declaration.name, durable=True, arguments=dict(declaration.arguments))
    except ChannelClosedByBroker as error:
        if error.reply_code == _NOT_FOUND:
            return None
        if error.reply_code == _OTHER_ARGUMENTS:
            return fault(
                subject,
                "It was declared with other arguments, so no worker can consume it.",
                "Move its messages away (shovel), delete it, and start its worker, which declares it anew.",
            )
        if error.reply_code == _NOT_ALLOWED:
            return unknown(subject, "this user has no permission to read it")
        raise
    return found


def _worked_on(queue: str, consumers: int, ready: int) -> Finding:
    if consumers:
        return fine(f"queue {queue}", f"{consumers} consumers, {ready} messages wait.")
    return fault(f"queue {queue}", f"Nobody works on it; {ready} messages wait.", "Start its worker, or resume it.")
