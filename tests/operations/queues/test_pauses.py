"""A queue that rests is taken from by no worker, loses nothing meanwhile, and rests until it is resumed."""

import json
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine

from local.postgres import Postgres
from shared.contracts.webhooks import WebhookReceived
from shared.messaging.actors import encode_message
from shared.operations.audit_log import list_entries
from shared.operations.queues.pauses import UnknownQueueError, list_pauses, pause, resume
from shared.runtime.database import build_engine
from tests.messaging.rabbitmq import VirtualHost
from tests.waiting import wait_until

Run = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    journal = tmp_path / "journal"
    journal.touch()
    return journal


def send(vhost: VirtualHost, *event_ids: int) -> None:
    for event_id in event_ids:
        vhost.publish("webhooks", json.dumps(encode_message(WebhookReceived(event_id=event_id))).encode())


def test_a_resting_queue_is_not_taken_from_and_a_resumed_one_is(
    engine: Engine, database_url: str, vhost: VirtualHost, run: Run, journal: Path
) -> None:
    run("operated", database_url, vhost.url, str(journal))
    wait_until(lambda: vhost.consumers("webhooks"))
    assert pause(engine, "webhooks", who="an operator", why="the bank moves")
    wait_until(lambda: vhost.consumers("webhooks") == 0, timeout_seconds=4)
    send(vhost, 7, 8)
    wait_until(lambda: vhost.ready("webhooks") == 2)
    assert "begin" not in journal.read_text()
    assert resume(engine, "webhooks", who="an operator")
    wait_until(lambda: journal.read_text().count("end") == 2, timeout_seconds=4)


def test_jobs_in_hand_are_finished_once_and_nothing_is_rejected(
    engine: Engine, database_url: str, vhost: VirtualHost, run: Run, journal: Path
) -> None:
    run("operated", database_url, vhost.url, str(journal))
    wait_until(lambda: vhost.consumers("webhooks"))
    # each takes longer than the pause needs to be obeyed
    send(vhost, *[2500 + number for number in range(5)])
    wait_until(lambda: journal.read_text().count("begin") == 1)
    pause(engine, "webhooks", who="an operator")
    wait_until(lambda: vhost.consumers("webhooks") == 0)
    begun = journal.read_text().count("begin")
    wait_until(lambda: journal.read_text().count("end") == begun)
    wait_until(lambda: vhost.ready("webhooks") == 5 - begun)
    assert begun < 5
    resume(engine, "webhooks", who="an operator")
    wait_until(lambda: journal.read_text().count("end") == 5, timeout_seconds=40)
    lines = journal.read_text()
    assert [lines.count(f"begin {2500 + number}\n") for number in range(5)] == [1] * 5
    assert vhost.ready("webhooks.XQ") == 0


@pytest.mark.slow
def test_a_worker_that_is_started_meanwhile_takes_nothing_either(
    engine: Engine, database_url: str, vhost: VirtualHost, run: Run, journal: Path
) -> None:
    run("operated", database_url, vhost.url, str(journal))
    wait_until(lambda: vhost.consumers("webhooks"))
    pause(engine, "webhooks", who="an operator")
    wait_until(lambda: vhost.consumers("webhooks") == 0)
    send(vhost, 7)
    restarted = run("operated", database_url, vhost.url, str(journal))
    assert restarted.stderr is not None
    while "worker started" not in restarted.stderr.readline():
        pass
    # as soon as its consumer of delayed messages is there, the other one would be too
    wait_until(lambda: vhost.consumers("webhooks.DQ") == 2)
    assert vhost.ready("webhooks") == 1
    assert "begin" not in journal.read_text()
    restarted.terminate()
    assert restarted.wait(20) == 0


def test_a_worker_that_cannot_ask_takes_nothing_until_it_can(
    own_postgres: Postgres, vhost: VirtualHost, run: Run, journal: Path
) -> None:
    engine = build_engine(own_postgres.url)
    pause(engine, "webhooks", who="an operator")
    engine.dispose()
    own_postgres.kill()
    run("operated", own_postgres.url, vhost.url, str(journal))
    wait_until(lambda: vhost.consumers("webhooks.DQ"))
    send(vhost, 7)
    own_postgres.start()
    engine = build_engine(own_postgres.url)
    assert list_pauses(engine).keys() == {"webhooks"}
    assert "begin" not in journal.read_text()
    resume(engine, "webhooks", who="an operator")
    wait_until(lambda: "end 7" in journal.read_text())
    engine.dispose()


def test_prometheus_sees_pauses(engine: Engine, database_url: str, vhost: VirtualHost, run: Run, journal: Path) -> None:
    run("operated", database_url, vhost.url, str(journal))
    wait_until(lambda: vhost.consumers("webhooks"))
    port = journal.read_text().split()[1]

    def reported() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            return str(answer.read().decode())

    assert 'nouba_queue_paused{queue="webhooks"} 0.0' in reported()
    pause(engine, "webhooks", who="an operator")
    wait_until(lambda: 'nouba_queue_paused{queue="webhooks"} 1.0' in reported())


def test_pausing_twice_is_pausing_once_and_acts_are_written_down(engine: Engine) -> None:
    assert pause(engine, "videos", who="an operator", why="S3 moves")
    assert not pause(engine, "videos", who="another")
    assert list_pauses(engine)["videos"].who == "an operator"
    assert resume(engine, "videos", who="another")
    assert not resume(engine, "videos", who="another")
    acts = [(act.who, act.what, act.why, act.ids) for act in list_entries(engine)]
    assert acts == [
        ("another", "queue.resume", None, ["videos"]),
        ("an operator", "queue.pause", "S3 moves", ["videos"]),
    ]


def test_a_queue_that_there_is_not_is_refused_with_those_that_there_are(engine: Engine) -> None:
    with pytest.raises(UnknownQueueError, match="the queues are default, events, videos, webhooks"):
        pause(engine, "video", who="an operator")
    assert list_entries(engine) == []
