"""The publisher calls a message published when RabbitMQ has confirmed it, and never waits for ever."""

import threading
import time
from collections.abc import Iterator

import pytest

from shared.messaging.publisher import Outgoing, Publisher
from shared.messaging.topology import declarations
from tests.messaging.rabbitmq import Node, VirtualHost
from tests.waiting import wait_until


def messages(count: int, queue: str = "webhooks") -> list[Outgoing]:
    return [Outgoing(queue, b'{"padding": "%s"}' % (b"x" * 400), f"id-{number}") for number in range(count)]


@pytest.fixture
def publisher(vhost: VirtualHost) -> Iterator[Publisher]:
    publisher = Publisher(vhost.url)
    publisher.start()
    assert publisher.wait_until_ready(10)
    yield publisher
    publisher.stop()


def test_five_thousand_messages_are_confirmed_without_waiting_for_each(
    publisher: Publisher, vhost: VirtualHost
) -> None:
    began = time.monotonic()
    confirmed = publisher.publish(messages(5000), timeout_seconds=20)
    seconds = time.monotonic() - began
    print(f"\n5,000 messages confirmed in {seconds:.2f} s: {5000 / seconds:,.0f}/s")
    assert confirmed == set(range(5000))
    assert vhost.ready("webhooks") == 5000


def test_a_message_is_persistent_and_carries_its_id_and_the_time(publisher: Publisher, vhost: VirtualHost) -> None:
    publisher.publish(messages(1), timeout_seconds=5)
    [(properties, body)] = vhost.take_all("webhooks")
    assert body == messages(1)[0].body
    assert (properties.delivery_mode, properties.message_id) == (2, "id-0")
    assert abs(properties.timestamp - time.time()) < 30


def test_what_nobody_routes_is_not_confirmed_and_the_next_attempt_declares_the_queue_again(
    publisher: Publisher, vhost: VirtualHost
) -> None:
    assert publisher.publish(messages(1), timeout_seconds=5) == {0}
    vhost.delete_queue("webhooks")
    mixed = [*messages(2), *messages(1, "default")]
    assert publisher.publish(mixed, timeout_seconds=5) == {2}
    assert publisher.publish(messages(2), timeout_seconds=5) == {0, 1}


def test_what_a_full_queue_refuses_is_not_confirmed(publisher: Publisher, vhost: VirtualHost) -> None:
    vhost.set_policy("^webhooks$", {"max-length": 10, "overflow": "reject-publish"})
    publisher.publish(messages(1), timeout_seconds=5)
    confirmed = publisher.publish(messages(500), timeout_seconds=5)
    assert len(confirmed) < 500
    # A quorum queue refuses softly: some beyond the limit get in, and each of those is confirmed.
    assert vhost.ready("webhooks") == 1 + len(confirmed)


def test_a_queue_with_other_arguments_fails_quickly_and_for_itself(publisher: Publisher, vhost: VirtualHost) -> None:
    vhost.channel().queue_declare("webhooks", durable=True)
    began = time.monotonic()
    assert publisher.publish(messages(1), timeout_seconds=5) == set()
    assert time.monotonic() - began < 2
    vhost.delete_queue("webhooks")
    wait_until(lambda: publisher.publish(messages(1), timeout_seconds=5) == {0})


def test_the_worker_may_have_declared_everything_before(publisher: Publisher, vhost: VirtualHost) -> None:
    for declaration in declarations("webhooks"):
        vhost.channel().queue_declare(declaration.name, durable=True, arguments=dict(declaration.arguments))
    assert publisher.publish(messages(3), timeout_seconds=5) == {0, 1, 2}


@pytest.mark.slow
def test_a_crash_of_rabbitmq_in_the_middle_loses_nothing_that_was_confirmed(
    publisher: Publisher, vhost: VirtualHost, node: Node
) -> None:
    vhost.declare("webhooks")
    total = 10_000
    confirmed: set[int] = set()

    def publish_until_stopped() -> None:
        confirmed.update(publisher.publish(messages(total), timeout_seconds=60))

    publishing = threading.Thread(target=publish_until_stopped)
    publishing.start()
    wait_until(lambda: vhost.ready("webhooks") > 1000)
    node.kill()
    publishing.join(5)
    assert not publishing.is_alive(), "a lost connection ends the wait at once"
    assert len(confirmed) < total, "the crash came too late to prove anything"
    assert publisher.publish(messages(1), timeout_seconds=0.2) == set()
    node.start()

    assert publisher.wait_until_ready(15)
    vhost.wait_until_led("webhooks")
    arrived = {properties.message_id for properties, _ in vhost.take_all("webhooks")}
    assert {f"id-{index}" for index in confirmed} <= arrived


def test_a_server_short_of_memory_costs_the_timeout_and_no_more_and_then_goes_on(
    publisher: Publisher, vhost: VirtualHost, node: Node
) -> None:
    publisher.publish(messages(1), timeout_seconds=5)
    node.starve()
    try:
        began = time.monotonic()
        assert publisher.publish(messages(100), timeout_seconds=1) == set()
        assert time.monotonic() - began < 1.5
        assert not publisher.wait_until_ready(0)
    finally:
        node.feed()
    assert publisher.wait_until_ready(10)
    assert publisher.publish(messages(100), timeout_seconds=5) == set(range(100))


def test_stopping_leaves_no_thread_behind_even_while_rabbitmq_blocks(vhost: VirtualHost, node: Node) -> None:
    before = set(threading.enumerate())
    publisher = Publisher(vhost.url)
    publisher.start()
    assert publisher.wait_until_ready(10)
    node.starve()
    try:
        publisher.publish(messages(1), timeout_seconds=0.5)
        publisher.stop(timeout_seconds=1)
    finally:
        node.feed()
    assert set(threading.enumerate()) <= before


def test_a_publisher_that_never_reached_rabbitmq_stops_as_well() -> None:
    before = set(threading.enumerate())
    publisher = Publisher("amqp://nobody:nothing@127.0.0.1:1/%2F")
    publisher.start()
    assert not publisher.wait_until_ready(0.5)
    publisher.stop(timeout_seconds=1)
    assert set(threading.enumerate()) <= before
