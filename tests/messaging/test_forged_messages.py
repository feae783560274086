"""No message that another user of RabbitMQ makes up ends a worker, chooses its limits or stays in its hands."""

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.contracts.webhooks import WebhookReceived
from shared.messaging.actors import MAX_BACKOFF_MS, encode_message
from shared.messaging.envelope_validation import fault_of
from tests.messaging.rabbitmq import VirtualHost
from tests.waiting import wait_until

Run = Callable[..., "subprocess.Popen[str]"]
GOOD = encode_message(WebhookReceived(event_id=7))
#: Event 2 fails and would be tried again: what rules that is not the sender's choice either.
FAILING = encode_message(WebhookReceived(event_id=2))
FORGED: tuple[dict[str, Any], ...] = (
    {**GOOD, "queue_name": "../x"},
    {**GOOD, "queue_name": "videos"},
    {**GOOD, "queue_name": ["webhooks"]},
    {**GOOD, "queue_name": "webhooks.DQ"},
    {**GOOD, "actor_name": None},
    {**GOOD, "actor_name": ["webhooks.received.v1"]},
    {**GOOD, "kwargs": [1]},
    {**GOOD, "kwargs": None},
    {**GOOD, "message_id": 7},
    {**GOOD, "message_id": "x" * 100_000},
    {**GOOD, "message_timestamp": "yesterday"},
    {**GOOD, "message_timestamp": 10**400},
    {**GOOD, "message_timestamp": -(10**15)},
    {**GOOD, "options": "x"},
    {**GOOD, "options": None},
    {**GOOD, "options": {"eta": "x"}},
    {**GOOD, "options": {"eta": 10**400}},
    {**GOOD, "options": {"eta": int(time.time() * 1000) + 10**12}},
    {**GOOD, "options": {"enqueued_at_ms": 10**400}},
    {**GOOD, "options": {"enqueued_at_ms": None}},
    {**FAILING, "options": {"retries": "x"}},
    {**FAILING, "options": {"retries": True}},
    {**FAILING, "options": {"error": {}}},
)


def test_no_forged_message_ends_a_worker(vhost: VirtualHost, run: Run, tmp_path: Path) -> None:
    # Given a worker
    journal = tmp_path / "journal"
    journal.touch()
    worker = run("worker", vhost.url, str(journal), "2", "0")
    wait_until(lambda: vhost.consumers("webhooks"))

    # When messages come that no service of ours publishes, and a genuine one behind them
    for forged in FORGED:
        vhost.publish("webhooks", json.dumps(forged).encode())
    vhost.publish("webhooks", json.dumps(GOOD).encode())

    # Then the genuine one alone is done, each other is a dead letter, and the worker is the same
    wait_until(lambda: vhost.ready("webhooks.XQ") == len(FORGED), 30)
    wait_until(lambda: journal.read_text().count("end 7") == 1, 30)
    assert journal.read_text().count("begin") == 1
    assert worker.poll() is None


@pytest.mark.parametrize(
    "options",
    [
        {"throws": "x"},
        {"max_retries": 10**9},
        {"min_backoff": -1, "max_backoff": 0},
        {"time_limit": "x"},
        {"on_retry_exhausted": "webhooks.received.v1"},
        {"pipe_target": {"queue_name": "webhooks"}},
        {"notify_shutdown": "x", "broker_priority": "x", "scheduled_at": "2020-01-01T00:00:00+00:00"},
    ],
)
def test_a_sender_does_not_choose_how_a_message_is_retried(
    options: dict[str, Any], vhost: VirtualHost, run: Run, tmp_path: Path
) -> None:
    # Given a worker whose messages are tried twice
    journal = tmp_path / "journal"
    journal.touch()
    worker = run("worker", vhost.url, str(journal), "1", "0")
    wait_until(lambda: vhost.consumers("webhooks"))

    # When a message that fails says something else of its retries
    vhost.publish("webhooks", json.dumps({**FAILING, "options": options}).encode())

    # Then it is tried twice, and is one dead letter
    wait_until(lambda: vhost.ready("webhooks.XQ") == 1, 30)
    assert journal.read_text().count("begin 2") == 2
    assert worker.poll() is None


class Envelope:
    """The fields of a message, as a broker's message has them."""

    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(GOOD | fields)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"retries": 3, "error": "OSError: away", "requeue_timestamp": 1, "enqueued_at_ms": 1, "replays": 2},
        {"eta": time.time() * 1000 + MAX_BACKOFF_MS},
    ],
)
def test_what_our_own_services_publish_is_taken(options: dict[str, Any]) -> None:
    assert fault_of(Envelope(options=dict(options)), "webhooks") is None
    assert fault_of(Envelope(options=dict(options), queue_name="webhooks.DQ"), "webhooks.DQ") is None
