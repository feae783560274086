"""RabbitMQ as these tests need it: a private node that may be crashed, starved and given policies."""

from collections.abc import Mapping
from typing import Any

import httpx
import pika
import pika.exceptions
from pika.adapters.blocking_connection import BlockingChannel

from local.rabbitmq import RabbitMq
from shared.messaging.topology import declarations
from tests.queues import wait_until_crash_safe, wait_until_led


class Node(RabbitMq):
    """A node of our own, with the controls of its operator."""

    def starve(self) -> None:
        """Raise the memory alarm: the node blocks everybody who publishes."""
        self.control("set_vm_memory_high_watermark", "0.0000001")

    def feed(self) -> None:
        """Clear the memory alarm."""
        self.control("set_vm_memory_high_watermark", "absolute", "2GB")


class VirtualHost:
    """Queues that no other test sees."""

    def __init__(self, node: Node, name: str) -> None:
        self._node = node
        self.name = name
        self.url = node.url_of(name)

    def declare(self, queue: str) -> None:
        """Declare `queue` with its queues for delayed and dead messages, and wait until they would survive a crash."""
        with pika.BlockingConnection(pika.URLParameters(self.url)) as connection:
            for one in declarations(queue):
                connection.channel().queue_declare(one.name, durable=True, arguments=dict(one.arguments))
        self.wait_until_crash_safe(queue)

    def wait_until_crash_safe(self, queue: str) -> None:
        """Return once `queue` and the queues beside it would survive a crash of the node."""
        quorum = [one.name for one in declarations(queue) if one.arguments.get("x-queue-type") == "quorum"]
        wait_until_crash_safe(self._node, self.url, *quorum)

    def wait_until_led(self, queue: str) -> None:
        """Return once `queue` and the queues beside it can be read after a restart of the node."""
        wait_until_led(self._node, self.url, *(one.name for one in declarations(queue)))

    def set_policy(self, pattern: str, definition: Mapping[str, object]) -> None:
        """Give the queues that match `pattern` what an operator may give them."""
        answer = httpx.put(
            f"{self._node.management_url}/api/policies/{self.name}/policy",
            json={"pattern": pattern, "definition": definition, "apply-to": "queues"},
        )
        answer.raise_for_status()

    def delete_policy(self) -> None:
        """Take away what `set_policy` gave."""
        httpx.delete(f"{self._node.management_url}/api/policies/{self.name}/policy").raise_for_status()

    def policy_of(self, queue: str) -> Mapping[str, Any]:
        """What policies say of `queue`."""
        answer = httpx.get(f"{self._node.management_url}/api/queues/{self.name}/{queue}")
        found: Mapping[str, Any] = answer.raise_for_status().json().get("effective_policy_definition") or {}
        return found

    def ready(self, queue: str) -> int:
        """How many messages wait in `queue`; 0 where there is no such queue."""
        with pika.BlockingConnection(pika.URLParameters(self.url)) as connection:
            try:
                declared = connection.channel().queue_declare(queue, passive=True)
            except pika.exceptions.ChannelClosedByBroker:
                return 0
            return int(declared.method.message_count)

    def consumers(self, queue: str) -> int:
        """How many consume `queue`; 0 where there is no such queue."""
        with pika.BlockingConnection(pika.URLParameters(self.url)) as connection:
            try:
                declared = connection.channel().queue_declare(queue, passive=True)
            except pika.exceptions.ChannelClosedByBroker:
                return 0
            return int(declared.method.consumer_count)

    def take_all(self, queue: str) -> list[tuple[pika.BasicProperties, bytes]]:
        """Remove and return what waits in `queue`; nothing where there is no such queue yet."""
        with pika.BlockingConnection(pika.URLParameters(self.url)) as connection:
            channel = connection.channel()
            try:
                left = int(channel.queue_declare(queue, passive=True).method.message_count)
            except pika.exceptions.ChannelClosedByBroker:
                return []
            taken: list[tuple[pika.BasicProperties, bytes]] = []
            while len(taken) < left:
                method, properties, body = next(channel.consume(queue))
                taken.append((properties, body))
                # one by one: what was delivered beyond these goes back
                channel.basic_ack(method.delivery_tag)
            return taken

    def publish(self, queue: str, body: bytes) -> None:
        """Publish `body` as it is."""
        with pika.BlockingConnection(pika.URLParameters(self.url)) as connection:
            connection.channel().basic_publish("", queue, body, pika.BasicProperties(delivery_mode=2))

    def delete_queue(self, queue: str) -> None:
        with pika.BlockingConnection(pika.URLParameters(self.url)) as connection:
            connection.channel().queue_delete(queue)

    def channel(self) -> BlockingChannel:
        """A channel of a connection of its own; closing the connection gives back what it took."""
        return pika.BlockingConnection(pika.URLParameters(self.url)).channel()
