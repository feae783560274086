"""Faults that dramatiq's own worker showed on a real RabbitMQ, each as a test of ours that must never show it again.

| reproduced fault | kept away by |
|---|---|
| xack: a late acknowledgement hits another message after a reconnection | `test_a_job_that_runs_on_through_...` here, |
| | and in one process `test_broker.test_a_late_acknowledgement_...` |
| rej: a retry that cannot be published is acknowledged | `test_a_failed_job_whose_retry_is_refused_...` here, |
| | and in one process `test_broker.test_a_retry_that_cannot_be_published_...` |
| poison: a message that kills its worker comes back for ever | `test_broker.test_a_message_that_kills_its_worker_...` |
| poison: what the killed process had prefetched is punished too | `test_what_the_killer_took_along_...` here |
| sig: a time limit does not reach into a call of the system | `test_a_time_limit_ends_...` here, for ffmpeg also |
| | `transcoder/test_ffmpeg.py`: `test_a_time_limit_ends_it`, `test_a_stall_ends_it` |
| sig: SIGTERM with jobs in hand | `test_worker.test_a_stopped_worker_finishes_its_jobs_...` |
| sig: a job that takes longer than a stop may | `test_a_job_that_outlasts_the_stop_...` here |
| sig: a stop that counts as an attempt | `transcoder/jobs/test_crashes.py`: |
| | `test_a_worker_that_is_stopped_gives_its_task_back_at_once` |
"""

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine

from shared.contracts.webhooks import WebhookReceived
from shared.messaging.actors import encode_message
from shared.messaging.broker import build_broker
from shared.messaging.topology import DELIVERY_LIMIT
from shared.messaging.worker import SHORT_JOBS
from shared.operations.dead_letters.queries import DeadFilter, list_dead
from shared.operations.dead_letters.replay import Decision, replay
from tests.messaging.rabbitmq import Node, VirtualHost
from tests.messaging.test_relay import relaying
from tests.waiting import wait_until

Run = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    journal = tmp_path / "journal"
    journal.touch()
    return journal


def send(vhost: VirtualHost, event_id: int) -> None:
    vhost.publish("webhooks", json.dumps(encode_message(WebhookReceived(event_id=event_id))).encode())


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


KILLER = 0
#: Each takes a second, so that what is begun beside the killer is never done with it.
INNOCENTS = (1000, 1001, 1002, 1003)
THREADS = 2


@pytest.mark.parametrize(
    ("prefetch", "taken_along"),
    [
        # as `videos` is worked on: nothing waits at a thread's side, but another thread has a job in hand
        pytest.param(THREADS, 1, marks=pytest.mark.slow),
        # as `webhooks` is: it takes one at a time after a death, so that the killer is counted alone
        (SHORT_JOBS * THREADS, 0),
    ],
    ids=["one a thread", "short jobs"],
)
def test_what_the_killer_took_along_is_kept_and_done_when_it_is_sent_again(
    prefetch: int, taken_along: int, engine: Engine, database_url: str, vhost: VirtualHost, run: Run, journal: Path
) -> None:
    """RabbitMQ counts a delivery for all that a dead process held: at the limit its neighbours go with the killer."""
    # Given a message that kills its worker, before some that do not
    build_broker(vhost.url).declare_queue("webhooks", ensure=True)
    for event_id in (KILLER, *INNOCENTS):
        send(vhost, event_id)

    # When the worker is started again after each death, until one lives that finds the killer among the dead
    deaths = 0
    while True:
        worker = run("operated", database_url, vhost.url, str(journal), str(THREADS), str(prefetch))
        wait_until(
            lambda: worker.poll() is not None or KILLER in dead(engine),  # noqa: B023
            message="a worker lived, and the killer is not among the dead",
        )
        if worker.poll() is None:
            break
        assert worker.returncode == -signal.SIGKILL
        deaths += 1
        assert deaths <= DELIVERY_LIMIT + 1, "the killer comes back for ever"

    # Then it was delivered as often as is permitted, and those that it took along are kept as it is
    assert deaths == DELIVERY_LIMIT + 1
    wait_until(lambda: len(dead(engine)) == 1 + taken_along, message="not all that died are kept")
    assert {letter.cause for letter in list_dead(engine, DeadFilter())} == {"delivery_limit"}
    # And the others are done without anybody's help
    left_alone = set(INNOCENTS) - dead(engine).keys()
    wait_until(lambda: left_alone <= done(journal), message="a neighbour that lived is not done")

    # When the neighbours are sent again
    ids = tuple(letter_id for event_id, letter_id in dead(engine).items() if event_id != KILLER)
    if ids:
        assert replay(engine, Decision(who="an operator", chosen=DeadFilter(ids=ids))).done == taken_along
    with relaying(engine, vhost):
        wait_until(lambda: set(INNOCENTS) <= done(journal), message="a neighbour that was sent again is not done")

    # Then the killer alone is dead, nothing waits, and the worker lives
    assert dead(engine).keys() == {KILLER}
    assert [vhost.ready(queue) for queue in ("webhooks", "webhooks.DQ", "webhooks.XQ")] == [0, 0, 0]
    assert worker.poll() is None


def dead(engine: Engine) -> dict[int, int]:
    """The ids of the letters that are dead, by their events."""
    return {letter.arguments["event_id"]: letter.id for letter in list_dead(engine, DeadFilter())}


def done(journal: Path) -> set[int]:
    """The events whose job has ended well."""
    return {int(line.split()[1]) for line in journal.read_text().splitlines() if line.startswith("end ")}


def test_a_time_limit_ends_what_runs_in_python_and_what_waits_for_its_child(
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
    # why nobody of ours waits in one long call: it only learns when the call has returned
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
