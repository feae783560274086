"""A worker consumes its own queues only, stops without losing anything, and outlives RabbitMQ's absence."""

import json
import re
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
from dramatiq.brokers.stub import StubBroker

from shared.contracts.webhooks import WebhookReceived
from shared.messaging.actors import encode_message
from shared.messaging.worker import run_worker
from tests.messaging.rabbitmq import Node, VirtualHost
from tests.waiting import wait_until

Run = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    journal = tmp_path / "journal"
    journal.touch()
    return journal


def send(vhost: VirtualHost, event_id: int) -> None:
    vhost.publish("webhooks", json.dumps(encode_message(WebhookReceived(event_id=event_id))).encode())


def test_a_stopped_worker_finishes_its_jobs_and_gives_back_the_rest(
    vhost: VirtualHost, run: Run, journal: Path
) -> None:
    worker = run("worker", vhost.url, str(journal), "2", "0")
    wait_until(lambda: vhost.consumers("webhooks"))
    for event_id in range(1000, 1008):
        send(vhost, event_id)
    wait_until(lambda: journal.read_text().count("begin") >= 2)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(20) == 0
    lines = journal.read_text()
    done = lines.count("end")
    assert lines.count("begin") == done
    assert vhost.ready("webhooks") == 8 - done > 0


def test_a_second_signal_ends_it_at_once_and_the_message_comes_back(
    vhost: VirtualHost, run: Run, journal: Path
) -> None:
    worker = run("worker", vhost.url, str(journal), "1", "0")
    wait_until(lambda: vhost.consumers("webhooks"))
    send(vhost, 15_000)
    wait_until(lambda: "begin" in journal.read_text())
    worker.send_signal(signal.SIGINT)
    assert worker.stderr is not None
    while "worker stopping" not in worker.stderr.readline():
        pass
    worker.send_signal(signal.SIGINT)
    assert worker.wait(5) == 1
    wait_until(lambda: vhost.ready("webhooks") == 1)


def test_a_worker_waits_for_rabbitmq_and_recovers_when_it_comes_back(
    vhost: VirtualHost, node: Node, run: Run, journal: Path
) -> None:
    node.kill()
    worker = run("worker", vhost.url, str(journal), "1", "0")
    wait_until(lambda: "metrics" in journal.read_text())
    node.start()
    wait_until(lambda: vhost.consumers("webhooks"))
    send(vhost, 10)
    wait_until(lambda: "end 10" in journal.read_text())
    vhost.wait_until_crash_safe("webhooks")
    node.kill()
    node.start()
    wait_until(lambda: vhost.consumers("webhooks"))
    send(vhost, 11)
    wait_until(lambda: "end 11" in journal.read_text())
    worker.terminate()
    assert worker.wait(20) == 0


def test_a_worker_that_never_reached_rabbitmq_stops_as_well(run: Run, journal: Path) -> None:
    worker = run("worker", "amqp://nobody:nothing@127.0.0.1:1/%2F", str(journal), "1", "0")
    wait_until(lambda: "metrics" in journal.read_text())
    assert worker.stderr is not None
    while "connection error" not in worker.stderr.readline():
        pass
    worker.terminate()
    assert worker.wait(10) == 0


def test_a_worker_exports_what_became_of_its_jobs(vhost: VirtualHost, run: Run, journal: Path) -> None:
    run("worker", vhost.url, str(journal), "1", "0")
    wait_until(lambda: vhost.consumers("webhooks"))
    port = journal.read_text().split()[1]
    for event_id in (1, 2, 10):
        send(vhost, event_id)
    wait_until(lambda: vhost.ready("webhooks.XQ") == 2)

    def reported() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            return str(answer.read().decode())

    labels = 'actor="webhooks.received.v1"'
    for outcome, count in (("done", 1), ("retried", 1), ("dead", 2)):
        line = f'nouba_messages_total{{{labels},outcome="{outcome}",queue="webhooks"}} {count}.0'
        wait_until(lambda: line in reported(), timeout_seconds=5)  # noqa: B023
    assert f'nouba_message_queue_seconds_count{{{labels},queue="webhooks"}} 4.0' in reported()
    assert 'nouba_messages_in_progress{queue="webhooks"} 0.0' in reported()
    # two of them ended at the first attempt, and one at the second
    assert f'nouba_message_attempts_sum{{{labels},queue="webhooks"}} 4.0' in reported()
    assert f'nouba_message_attempts_count{{{labels},queue="webhooks"}} 3.0' in reported()
    assert 'nouba_worker_threads{queue="webhooks"} 1.0' in reported()


def test_a_process_exports_what_it_is_and_when_it_started(vhost: VirtualHost, run: Run, journal: Path) -> None:
    run("worker", vhost.url, str(journal), "1", "0")
    wait_until(lambda: "metrics" in journal.read_text())
    port = journal.read_text().split()[1]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        reported = answer.read().decode()

    assert f'version="{version("nouba")}"}} 1.0' in reported
    started = re.search(r"^nouba_start_timestamp_seconds (\S+)$", reported, re.MULTILINE)
    assert started
    assert abs(time.time() - float(started[1])) < 60


@pytest.mark.parametrize("queues", [[], ["webhooks"]])
def test_a_worker_refuses_queues_that_it_has_no_actor_for(queues: list[str]) -> None:
    with pytest.raises(ValueError, match="takes queues that its actors serve"):
        run_worker(StubBroker(), queues, threads=1)
