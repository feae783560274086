"""No message is lost or handled for ever: the four faults of dramatiq's own broker, each shown and each mended."""
# mypy: disallow-untyped-calls=False

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dramatiq
import pytest
from dramatiq import Worker
from dramatiq.brokers.rabbitmq import _RabbitmqConsumer

from shared.contracts.webhooks import WebhookReceived
from shared.messaging.actors import actor, encode_message
from shared.messaging.broker import Consumer, QuorumBroker, build_broker
from shared.messaging.topology import DELIVERY_LIMIT
from tests.messaging.rabbitmq import VirtualHost
from tests.waiting import wait_until

Run = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def broker(vhost: VirtualHost) -> QuorumBroker:
    return build_broker(vhost.url)


def send(vhost: VirtualHost, event_id: int) -> None:
    vhost.publish("webhooks", json.dumps(encode_message(WebhookReceived(event_id=event_id))).encode())


def event_id_of(body: bytes) -> int:
    return int(json.loads(body)["kwargs"]["event_id"])


@pytest.mark.parametrize(("consumer_class", "survivors"), [(_RabbitmqConsumer, 0), (Consumer, 1)])
def test_a_late_acknowledgement_does_not_hit_the_message_that_bears_its_number_now(
    consumer_class: type[_RabbitmqConsumer], survivors: int, broker: QuorumBroker, vhost: VirtualHost
) -> None:
    # Given a job that runs on while its consumer loses the connection
    broker.declare_queue("webhooks", ensure=True)
    send(vhost, 1)
    before = consumer_class(broker, "webhooks", 1, 5000)
    running = next(before)
    before.close()
    # And another worker that took the job over, so that the new connection begins with another message
    other_worker = vhost.channel()
    wait_until(lambda: other_worker.basic_get("webhooks")[0])
    send(vhost, 2)
    after = consumer_class(broker, "webhooks", 1, 5000)
    assert next(after).kwargs == {"event_id": 2}
    # When the first job ends and is acknowledged, as dramatiq does it: at the present consumer
    after.ack(running)
    # And the process dies before the second is done
    after.close()
    # Then the second is still there, unless it was acknowledged in the name of the first
    assert vhost.ready("webhooks") == survivors


def test_messages_done_in_any_order_are_acknowledged_and_those_in_hand_are_not(
    broker: QuorumBroker, vhost: VirtualHost
) -> None:
    # Given six messages, the third of which nobody can read
    broker.declare_queue("webhooks", ensure=True)
    for event_id in (1, 2):
        send(vhost, event_id)
    vhost.publish("webhooks", b"nonsense")
    for event_id in (4, 5, 6):
        send(vhost, event_id)
    consumer = Consumer(broker, "webhooks", 6, 100)
    taken: dict[int, Any] = {}
    while len(taken) < 5:
        if (message := next(consumer)) is not None:
            taken[message.kwargs["event_id"]] = message
    # When all but one are settled, out of order, one of them as failed
    for event_id in (5, 1, 4):
        consumer.ack(taken[event_id])
    consumer.nack(taken[6])
    # And the process dies
    consumer.close()
    # Then what was in hand waits again, alone
    wait_until(lambda: vhost.ready("webhooks") == 1)
    waiting = vhost.channel().basic_get("webhooks")[2]
    assert event_id_of(waiting) == 2
    # And what failed and what nobody could read are dead, neither acknowledged with its neighbours
    wait_until(lambda: vhost.ready("webhooks.XQ") == 2)


def test_a_message_knows_how_often_it_was_delivered_before(broker: QuorumBroker, vhost: VirtualHost) -> None:
    broker.declare_queue("webhooks", ensure=True)
    send(vhost, 1)
    counts = []
    for _ in range(3):
        consumer = broker.consume("webhooks")
        message: Any = next(consumer)
        counts.append(message.delivery_count)
        consumer.close()
    assert counts == [0, 1, 2]


def test_a_retry_that_cannot_be_published_ends_in_the_dead_letter_queue(
    broker: QuorumBroker, vhost: VirtualHost
) -> None:
    # Given a delay queue that takes nothing
    broker.declare_queue("webhooks", ensure=True)
    vhost.set_policy(r"^webhooks\.DQ$", {"max-length": 0, "overflow": "reject-publish"})

    @actor(broker, WebhookReceived, max_retries=3, min_backoff_ms=10, max_backoff_ms=10, time_limit_ms=10_000)
    def fail(message: WebhookReceived) -> None:
        raise RuntimeError("try again")

    # When a job fails and would be tried again
    worker = Worker(broker, queues={"webhooks"}, worker_threads=1, worker_timeout=100)
    worker.start()
    send(vhost, 1)
    # Then it is neither lost nor acknowledged
    wait_until(lambda: vhost.ready("webhooks.XQ") == 1)
    worker.stop()
    assert (vhost.ready("webhooks"), vhost.ready("webhooks.DQ")) == (0, 0)


def test_a_message_that_kills_its_worker_ends_at_the_limit_and_its_neighbours_live(
    vhost: VirtualHost, run: Run, tmp_path: Path, broker: QuorumBroker
) -> None:
    # Given one message that kills the process, before others that do not
    broker.declare_queue("webhooks", ensure=True)
    for event_id in (0, 10, 11, 12):
        send(vhost, event_id)
    journal = tmp_path / "journal"
    # When the worker is started again after every death
    deaths = 0
    while True:
        worker = run("worker", vhost.url, str(journal), "1", "1")
        wait_until(lambda: worker.poll() is not None or vhost.ready("webhooks.XQ") == 1, 60)  # noqa: B023
        if worker.poll() is None:
            break
        assert worker.returncode == -signal.SIGKILL
        deaths += 1
    # Then the killer is dead after its last permitted delivery, and the others are done
    wait_until(lambda: "end 12" in journal.read_text(), 60)
    assert deaths == DELIVERY_LIMIT + 1
    [(_, body)] = vhost.take_all("webhooks.XQ")
    assert event_id_of(body) == 0
    assert {"end 10", "end 11", "end 12"} <= set(journal.read_text().split("\n"))


def test_what_trying_again_cannot_help_is_dead_at_once(vhost: VirtualHost, run: Run, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    worker = run("worker", vhost.url, str(journal), "2", "0")
    wait_until(lambda: journal.exists())
    good = encode_message(WebhookReceived(event_id=1))
    hopeless = [
        good,  # the handler says so
        {**good, "kwargs": {"event_id": "seven"}},  # of another type
        {**good, "kwargs": {}},  # a field is missing
        {**good, "args": [1]},  # not by name
        {**good, "actor_name": "webhooks.received.v9"},  # nobody knows it
        {**good, "shiny": True},  # not dramatiq's envelope
    ]
    wait_until(lambda: vhost.consumers("webhooks"))
    for message in hopeless:
        vhost.publish("webhooks", json.dumps(message).encode())
    vhost.publish("webhooks", b"\xff not json")
    wait_until(lambda: vhost.ready("webhooks.XQ") == len(hopeless) + 1)
    assert (vhost.ready("webhooks"), vhost.ready("webhooks.DQ")) == (0, 0)
    assert journal.read_text().count("begin") == 1
    worker.terminate()
    assert "Retrying message" not in worker.communicate()[1]


def test_a_retry_carries_the_kind_of_its_error_and_no_text_of_strangers(
    vhost: VirtualHost, run: Run, tmp_path: Path
) -> None:
    # Given a job that fails twice with a text that quotes data, and may be tried again once
    journal = tmp_path / "journal"
    worker = run("worker", vhost.url, str(journal), "1", "0")
    wait_until(lambda: journal.exists() and vhost.consumers("webhooks"))
    send(vhost, 2)
    wait_until(lambda: vhost.ready("webhooks.XQ") == 1)
    # Then it was tried twice, and what is left names the error without its text
    [(_, body)] = vhost.take_all("webhooks.XQ")
    assert journal.read_text().count("begin 2") == 2
    assert json.loads(body)["options"]["error"] == "RuntimeError"
    assert b"canary" not in body
    # And so do the logs
    worker.terminate()
    logs = worker.communicate()[1]
    assert "RuntimeError" in logs
    assert "canary" not in logs


def test_nothing_global_is_left_behind(broker: QuorumBroker) -> None:
    assert dramatiq.broker.global_broker is None
