"""Faults that dramatiq's own worker showed on a real RabbitMQ, each as a test of ours that must never show it again.

| reproduced fault | kept away by |
|---|---|
| xack: a late acknowledgement hits another message after a reconnection | `test_a_job_that_runs_on_through_...` here, |
| | and in one process `test_broker.test_a_late_acknowledgement_...` |
| rej: a retry that cannot be published is acknowledged | `test_a_failed_job_whose_retry_is_refused_...` here, |
| | and in one process `test_broker.test_a_retry_that_cannot_be_published_...` |
| poison: a message that kills its worker comes back for ever | `test_broker.test_a_message_that_kills_its_worker_...` |
| poison: what the killed process had prefetched is punished too | `test_what_the_killer_had_at_its_side_...` here |
| sig: a time limit does not reach into a call of the system | `test_a_time_limit_ends_...` here, for ffmpeg also |
| | `transcoder/test_ffmpeg.py`: `test_a_time_limit_ends_it`, `test_a_stall_ends_it` |
| sig: SIGTERM with jobs in hand | `test_worker.test_a_stopped_worker_finishes_its_jobs_...` |
| sig: a job that takes longer than a stop may | `test_a_job_that_outlasts_the_stop_...` here |
| sig: to be told of the stop counts as an attempt | `transcoder/jobs/test_crashes.py`: |
| | `test_a_worker_that_is_told_to_stop_gives_its_part_back_at_once` |
"""

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.contracts.webhooks import WebhookReceived
from shared.runtime.broker import build_broker
from shared.runtime.messaging import envelope
from tests.runtime.rabbitmq import Node, VirtualHost
from tests.waiting import wait_until

Run = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    journal = tmp_path / "journal"
    journal.touch()
    return journal


def send(vhost: VirtualHost, event_id: int) -> None:
    vhost.publish("webhooks", json.dumps(envelope(WebhookReceived(event_id=event_id))).encode())


def test_a_job_that_runs_on_through_a_reconnection_acknowledges_nobody_elses_message(
    vhost: VirtualHost, node: Node, run: Run, journal: Path
) -> None:
    # Given job A, which goes on while the server closes its worker's connection
    worker = run("worker", vhost.url, str(journal), "2", "2")
    wait_until(lambda: vhost.consumers("webhooks"))
    send(vhost, 9000)
    wait_until(lambda: "begin 9000" in journal.read_text())
    node.control("close_all_connections", "--vhost", vhost.name, "the operator closed it")
    # And a peer that is given A before the worker is back, so that B is the first message on the worker's new channel
    peer = vhost.channel()
    wait_until(lambda: peer.basic_get("webhooks")[0], message="A did not come back")
    send(vhost, 60_000)
    wait_until(lambda: "begin 60000" in journal.read_text())
    # When A ends, and its worker is killed while B is in hand
    wait_until(lambda: "end 9000" in journal.read_text())
    time.sleep(0.5)  # for an acknowledgement that must not come
    worker.kill()
    worker.wait()
    # Then B is still there
    wait_until(lambda: vhost.ready("webhooks") == 1, message="B is lost")
    [(_, body)] = vhost.take_all("webhooks")
    assert json.loads(body)["kwargs"] == {"event_id": 60_000}


def test_a_failed_job_whose_retry_is_refused_is_kept_as_a_dead_letter(
    vhost: VirtualHost, run: Run, journal: Path
) -> None:
    build_broker(vhost.url).declare_queue("webhooks", ensure=True)
    vhost.set_policy(r"^webhooks\.DQ$", {"max-length": 0, "overflow": "reject-publish"})
    run("worker", vhost.url, str(journal), "1", "0")

    send(vhost, 2)  # fails, and may be tried again

    wait_until(lambda: vhost.ready("webhooks.XQ") == 1, message="the message is gone")
    assert journal.read_text().count("begin 2") == 1
    assert (vhost.ready("webhooks"), vhost.ready("webhooks.DQ")) == (0, 0)


def test_what_the_killer_had_at_its_side_is_done_once_by_the_next_worker(
    vhost: VirtualHost, run: Run, journal: Path
) -> None:
    """One death costs a prefetched neighbour one delivery of its limit, and nothing else."""
    build_broker(vhost.url).declare_queue("webhooks", ensure=True)
    for event_id in (0, 10, 11, 12):
        send(vhost, event_id)
    killed = run("worker", vhost.url, str(journal), "1", "4")
    assert killed.wait(20) == -signal.SIGKILL
    operator = vhost.channel()
    came_back = [operator.basic_get("webhooks") for _ in range(4)]
    for method, _, body in came_back:
        assert method is not None
        assert method.redelivered
        if json.loads(body)["kwargs"] == {"event_id": 0}:
            operator.basic_ack(method.delivery_tag)
        else:
            operator.basic_nack(method.delivery_tag)

    run("worker", vhost.url, str(journal), "1", "4")

    wait_until(lambda: all(f"end {event_id}" in journal.read_text() for event_id in (10, 11, 12)))
    assert vhost.ready("webhooks.XQ") == 0


def test_a_time_limit_ends_what_runs_in_python_and_what_looks_at_its_child(
    vhost: VirtualHost, run: Run, journal: Path
) -> None:
    run("stubborn", vhost.url, str(journal), "5")
    wait_until(lambda: vhost.consumers("webhooks"))
    for how in (1, 2, 3):
        send(vhost, how)
    wait_until(lambda: journal.read_text().count("TimeLimitExceeded") == 3)
    took = {int(line.split()[1]): float(line.split()[2]) for line in journal.read_text().split("\n") if "Limit" in line}
    assert took[1] < 8
    assert took[3] < 8
    # why nobody of ours waits in one long call: it is only told when the call has returned
    assert took[2] >= 9.5
    wait_until(lambda: vhost.ready("webhooks.XQ") == 3)


def test_a_job_that_outlasts_the_stop_comes_back_to_the_queue(vhost: VirtualHost, run: Run, journal: Path) -> None:
    worker = run("stubborn", vhost.url, str(journal), "0.5")
    wait_until(lambda: vhost.consumers("webhooks"))
    send(vhost, 2)
    wait_until(lambda: "begin 2" in journal.read_text())
    worker.terminate()
    assert worker.wait(8) == 0
    assert "end 2" not in journal.read_text()
    wait_until(lambda: vhost.ready("webhooks") == 1)
