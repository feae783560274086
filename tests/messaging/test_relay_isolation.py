"""A queue that RabbitMQ does not confirm, or refuses, delays no other queue and recovers by itself."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date

import pytest
from sqlalchemy import Engine, func, insert, select

from shared.contracts.payments import PaymentSettled
from shared.contracts.webhooks import WebhookReceived
from shared.messaging import relay as relay_module
from shared.messaging.actors import encode_message
from shared.messaging.publisher import Outgoing, Publisher
from shared.messaging.relay import Relay, connections_of
from shared.runtime.database import build_engine
from shared.schema import tables
from tests.messaging.conftest import Run
from tests.messaging.rabbitmq import Node, VirtualHost
from tests.waiting import wait_until

DAY = date(2026, 3, 1)
#: How long the relay waits for confirms; in operation it is longer.
PATIENCE_SECONDS = 3.0


@pytest.fixture
def relaying_engine(database_url: str) -> Iterator[Engine]:
    engine = build_engine(database_url, pool_size=connections_of("gateway"))
    yield engine
    engine.dispose()


@contextmanager
def suspended(node: Node, vhost: VirtualHost, queue: str) -> Iterator[None]:
    """A queue whose process takes what it is sent and confirms nothing."""
    process = f"'{vhost.name}_{queue}'"
    node.control("eval", f"sys:suspend({process}).")
    try:
        yield
    finally:
        node.control("eval", f"sys:resume({process}).")


@contextmanager
def relaying(engine: Engine, vhost: VirtualHost) -> Iterator[Relay]:
    relay = Relay(engine, vhost.url, "gateway")
    relay.start()
    try:
        yield relay
    finally:
        relay.stop()


def waiting(engine: Engine, queue: str) -> int:
    with engine.connect() as connection:
        in_queue = tables.outbox.c.message["queue_name"].astext == queue
        return connection.scalar(select(func.count()).select_from(tables.outbox).where(in_queue)) or 0


def enqueue(engine: Engine, *messages: WebhookReceived | PaymentSettled) -> None:
    with engine.begin() as connection:
        connection.execute(
            insert(tables.outbox), [{"service": "gateway", "message": encode_message(message)} for message in messages]
        )


def settled(count: int) -> list[PaymentSettled]:
    return [PaymentSettled(payment_id=number, day=DAY) for number in range(count)]


def test_a_queue_that_confirms_nothing_delays_no_other_queue(
    engine: Engine, relaying_engine: Engine, node: Node, vhost: VirtualHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "CONFIRM_TIMEOUT_SECONDS", PATIENCE_SECONDS)
    with relaying(relaying_engine, vhost) as relay:
        # Given both queues exist, and one of them confirms nothing
        enqueue(engine, WebhookReceived(event_id=0), *settled(1))
        wait_until(lambda: vhost.ready("webhooks") == 1 and vhost.ready("default") == 1)
        with suspended(node, vhost, "default"):
            enqueue(engine, *settled(300))
            # When webhooks come for longer than any patience
            slowest = 0.0
            until = time.monotonic() + PATIENCE_SECONDS + 2
            event_id = 0
            while time.monotonic() < until:
                event_id += 1
                enqueue(engine, WebhookReceived(event_id=event_id))
                committed_at = time.monotonic()
                relay.wake()
                wait_until(lambda: waiting(engine, "webhooks") == 0)
                slowest = max(slowest, time.monotonic() - committed_at)
                threading.Event().wait(0.1)
            # Then each of them went as if nothing were wrong
            print(f"\n{event_id} webhooks, the slowest took {slowest * 1000:.0f} ms")
            assert slowest < 2
            assert waiting(engine, "default") == 300
        # And the other queue goes on by itself; few of its messages were sent again
        wait_until(lambda: waiting(engine, "default") == 0, timeout_seconds=30)
    arrived = [json.loads(body)["kwargs"]["payment_id"] for _, body in vhost.take_all("default")]
    assert set(arrived) == set(range(300))
    assert len(arrived) < 1000


@pytest.mark.slow
def test_a_confirm_that_comes_late_counts(
    engine: Engine, relaying_engine: Engine, node: Node, vhost: VirtualHost
) -> None:
    with relaying(relaying_engine, vhost) as relay:
        enqueue(engine, *settled(1))
        wait_until(lambda: vhost.ready("default") == 1)
        with suspended(node, vhost, "default"):
            enqueue(engine, *settled(300))
            relay.wake()
            # longer than the five seconds after which confirms used to be ignored
            time.sleep(7)
        wait_until(lambda: waiting(engine, "default") == 0)
        assert vhost.ready("default") == 301, "nothing was published twice"


def test_a_queue_that_refused_everything_recovers_and_the_log_says_so(
    engine: Engine, database_url: str, vhost: VirtualHost, run: Run
) -> None:
    relay = run("relay", database_url, vhost.url)
    log: list[str] = []

    def read_log() -> None:
        assert relay.stderr is not None
        for line in relay.stderr:
            log.append(line)

    threading.Thread(target=read_log, daemon=True).start()
    enqueue(engine, WebhookReceived(event_id=0))
    wait_until(lambda: vhost.ready("webhooks") == 1)
    # Given a policy under which the queue refuses every message
    vhost.set_policy("^webhooks$", {"max-length": 1, "overflow": "reject-publish"})
    wait_until(lambda: bool(vhost.policy_of("webhooks")))
    sent = 0

    def is_refused() -> bool:
        # a quorum queue refuses softly: some beyond the limit get in
        nonlocal sent
        sent += 1
        enqueue(engine, WebhookReceived(event_id=sent))
        threading.Event().wait(0.3)
        return any("refuses every message" in line for line in log)

    wait_until(is_refused)
    assert waiting(engine, "webhooks") > 0
    # When the operator deletes it
    vhost.delete_policy()
    # Then what waited leaves, and what comes later
    wait_until(lambda: waiting(engine, "webhooks") == 0)
    enqueue(engine, WebhookReceived(event_id=sent + 1))
    wait_until(lambda: waiting(engine, "webhooks") == 0)
    assert set(range(sent + 2)) == {json.loads(body)["kwargs"]["event_id"] for _, body in vhost.take_all("webhooks")}
    wait_until(lambda: any("confirms again" in line for line in log))


def test_a_publisher_opens_a_new_connection_when_no_confirm_comes(node: Node, vhost: VirtualHost) -> None:
    publisher = Publisher(vhost.url)
    publisher.start()
    try:
        assert publisher.publish([Outgoing("webhooks", b"{}", "first")], 10) == {0}
        with suspended(node, vhost, "webhooks"):
            many = [Outgoing("webhooks", b"{}", str(number)) for number in range(2000)]
            assert publisher.publish(many, 1) == set()
            # the window is free again for another queue
            wait_until(lambda: publisher.publish([Outgoing("default", b"{}", "other")], 5) == {0})
    finally:
        publisher.stop()
