"""How the queues stand is what RabbitMQ and PostgreSQL say, and what nobody said is not made up."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner
from pika.exceptions import AMQPError
from sqlalchemy import Engine, insert

from local.rabbitmq import RabbitMq
from shared.cli import main
from shared.messaging.publisher import Outgoing, Publisher
from shared.operations.queues.pauses import pause
from shared.operations.queues.status import QueueStatus, QueueStatuses, queue_statuses
from shared.runtime.database import build_engine
from shared.schema.tables import dead_letters
from tests.messaging.rabbitmq import VirtualHost
from tests.waiting import wait_until

QUEUES = ["videos", "webhooks"]


@pytest.fixture
def declared(vhost: VirtualHost) -> Iterator[Publisher]:
    """Both queues exist, with three messages in `webhooks`."""
    publisher = Publisher(vhost.url)
    publisher.start()
    sent = [Outgoing("webhooks", b"{}", str(number)) for number in range(3)]
    assert len(publisher.publish(sent, 20)) == 3
    yield publisher
    publisher.stop()


def address(node: RabbitMq) -> str:
    return node.management_address


def status_of(statuses: QueueStatuses, queue: str) -> QueueStatus:
    [found] = [one for one in statuses.queues if one.queue == queue]
    return found


def bury(engine: Engine, queue: str, state: str) -> None:
    with engine.begin() as connection:
        connection.execute(
            insert(dead_letters).values(
                queue=queue, message_id=state, state=state, cause="retries", attempts=1, message=b"", death="d",
                died_at=datetime.now(UTC),
            )
        )  # fmt: skip


@pytest.mark.usefixtures("declared")
def test_the_management_api_reports_what_waits_what_is_in_work_and_who_consumes(
    engine: Engine, vhost: VirtualHost, node: RabbitMq
) -> None:
    channel = vhost.channel()
    channel.basic_qos(prefetch_count=1)
    channel.basic_consume("webhooks", lambda *_: None)
    channel.connection.process_data_events(time_limit=1)

    def one_in_work() -> QueueStatus | None:
        channel.connection.process_data_events(time_limit=0)
        statuses = queue_statuses(engine, vhost.url, address(node), QUEUES)
        assert statuses.notes == []
        found = status_of(statuses, "webhooks")
        return found if found.consumers == 1 and found.in_work == 1 else None

    found = wait_until(one_in_work)
    assert found is not None
    assert (found.ready, found.delayed, found.dead) == (2, 0, 0)
    channel.connection.close()
    assert status_of(queue_statuses(engine, vhost.url, address(node), QUEUES), "videos").ready is None


def test_rates_give_the_time_in_the_queue_and_the_time_until_it_is_clear(
    engine: Engine, vhost: VirtualHost, node: RabbitMq, declared: Publisher
) -> None:
    declared.publish([Outgoing("webhooks", b"{}", str(number)) for number in range(997)], 20)
    channel = vhost.channel()
    taken = channel.consume("webhooks", inactivity_timeout=1)

    def rated() -> QueueStatus | None:
        for _ in range(2):
            method, _properties, _body = next(taken)
            channel.basic_ack(method.delivery_tag)
        found = status_of(queue_statuses(engine, vhost.url, address(node), QUEUES), "webhooks")
        return found if found.departures_per_second and not found.arrivals_per_second else None

    found = wait_until(rated, timeout_seconds=60)
    assert found is not None
    assert found.departures_per_second is not None
    assert found.ready is not None
    assert found.in_work is not None
    expected = (found.ready + found.in_work) / found.departures_per_second
    assert found.mean_seconds == found.clear_seconds == pytest.approx(expected)
    channel.connection.close()


@pytest.mark.usefixtures("declared")
@pytest.mark.parametrize(
    ("management_url", "reason"),
    [(None, "NOUBA_RABBITMQ_MANAGEMENT_URL is not set"), ("http://127.0.0.1:1", "the management API does not answer")],
)
def test_without_the_management_api_the_rest_is_said_to_be_unknown(
    engine: Engine, vhost: VirtualHost, management_url: str | None, reason: str
) -> None:
    statuses = queue_statuses(engine, vhost.url, management_url, QUEUES)
    found = status_of(statuses, "webhooks")
    assert (found.ready, found.consumers, found.dead) == (3, 0, 0)
    unknown = (found.in_work, found.delayed, found.arrivals_per_second, found.mean_seconds, found.clear_seconds)
    assert unknown == (None,) * 5
    assert status_of(statuses, "videos").ready is None
    [note] = statuses.notes
    assert reason in note


@pytest.mark.usefixtures("declared")
def test_a_user_whom_the_management_api_refuses_is_shown_the_fix(
    engine: Engine, vhost: VirtualHost, node: RabbitMq
) -> None:
    node.control("add_user", "plain", "secret")
    node.control("set_permissions", "-p", vhost.name, "plain", ".*", ".*", ".*")
    url = vhost.url.replace(vhost.url.split("//")[1].split("@")[0], "plain:secret")
    statuses = queue_statuses(engine, url, address(node), QUEUES)
    node.control("delete_user", "plain")
    assert statuses.notes == [
        "Unacknowledged, delayed, rates and times are unknown: the management API refuses 'plain': give that user the "
        "tag `management`."
    ]
    assert status_of(statuses, "webhooks").ready == 3


@pytest.mark.usefixtures("declared")
def test_dead_letters_in_the_database_and_pauses_are_shown(engine: Engine, vhost: VirtualHost, node: RabbitMq) -> None:
    bury(engine, "webhooks", "dead")
    bury(engine, "webhooks", "discarded")
    vhost.publish("webhooks.XQ", b"dead too")
    wait_until(lambda: vhost.ready("webhooks.XQ") == 1)
    pause(engine, "webhooks", who="an operator")
    found = status_of(queue_statuses(engine, vhost.url, address(node), QUEUES), "webhooks")
    assert found.dead == 2
    assert found.paused_by == "an operator"


@pytest.mark.usefixtures("declared")
def test_without_postgresql_the_queues_are_shown_all_the_same(vhost: VirtualHost, node: RabbitMq) -> None:
    away = build_engine("postgresql://nobody:nothing@127.0.0.1:1/none")
    statuses = queue_statuses(away, vhost.url, address(node), QUEUES)
    assert status_of(statuses, "webhooks").dead is None
    assert "PostgreSQL is unavailable" in statuses.notes[0]


def test_without_rabbitmq_there_is_nothing_to_show(engine: Engine) -> None:
    with pytest.raises(AMQPError):
        queue_statuses(engine, "amqp://nobody:nothing@127.0.0.1:1/", None)


def nouba(settings: dict[str, str], *arguments: str, status: int = 0) -> str:
    result = CliRunner().invoke(main, arguments, env=settings)
    assert result.exit_code == status, result.output
    return result.output


@pytest.mark.usefixtures("declared")
def test_the_command_shows_the_table_and_lets_queues_rest(
    database_url: str, vhost: VirtualHost, node: RabbitMq
) -> None:
    settings = {
        "NOUBA_DATABASE_URL": database_url,
        "NOUBA_RABBITMQ_URL": vhost.url,
        "NOUBA_RABBITMQ_MANAGEMENT_URL": address(node),
    }
    paused = nouba(settings, "queues", "pause", "webhooks", "--actor-name", "ops", "--reason", "a move")
    assert paused.strip() == "Queue webhooks is paused."
    reported = json.loads(nouba(settings, "queues", "--json"))
    webhooks = next(one for one in reported["queues"] if one["queue"] == "webhooks")
    assert (webhooks["ready"], webhooks["paused_by"], reported["notes"]) == (3, "ops", [])
    assert "paused for 0 min" in nouba(settings | {"COLUMNS": "200"}, "queues")
    assert "is not paused" in nouba(settings, "queues", "resume", "videos")
    assert "is resumed" in nouba(settings, "queues", "resume", "webhooks")
    assert "'video' is not one of" in nouba(settings, "queues", "pause", "video", status=2)
    away = settings | {"NOUBA_RABBITMQ_URL": "amqp://nobody:nothing@127.0.0.1:1/"}
    del away["NOUBA_RABBITMQ_MANAGEMENT_URL"]
    assert "RabbitMQ is away" in nouba(away, "queues", status=1)


@pytest.mark.usefixtures("declared")
def test_a_watch_shows_what_changes_until_it_is_interrupted(
    database_url: str, vhost: VirtualHost, node: RabbitMq
) -> None:
    terminal, other_end = pty.openpty()
    settings = {
        "NOUBA_DATABASE_URL": database_url,
        "NOUBA_RABBITMQ_URL": vhost.url,
        "NOUBA_RABBITMQ_MANAGEMENT_URL": address(node),
        "TERM": "xterm",
        "COLUMNS": "120",
    }
    program = Path(sys.executable).with_name("nouba")
    watch = subprocess.Popen([program, "queues", "--watch"], env=settings, stdout=other_end, stderr=other_end)
    shown = b""
    while not re.search(rb"webhooks +3 ", shown):
        shown += os.read(terminal, 4096)
    vhost.publish("webhooks", b"{}")
    while not re.search(rb"webhooks +4 ", shown):
        shown += os.read(terminal, 4096)
    watch.send_signal(signal.SIGINT)
    # a terminal that nobody reads would hold up its last words
    while watch.poll() is None:
        if select.select([terminal], [], [], 0.1)[0]:
            os.read(terminal, 4096)
    assert watch.returncode == 0
    os.close(other_end)
    os.close(terminal)


@pytest.mark.usefixtures("declared")
def test_a_watch_for_programs_reports_one_document_a_line_until_it_is_interrupted(
    database_url: str, vhost: VirtualHost, node: RabbitMq
) -> None:
    settings = {
        "NOUBA_DATABASE_URL": database_url,
        "NOUBA_RABBITMQ_URL": vhost.url,
        "NOUBA_RABBITMQ_MANAGEMENT_URL": address(node),
    }
    program = Path(sys.executable).with_name("nouba")
    watch = subprocess.Popen([program, "queues", "--watch", "--json"], env=settings, stdout=subprocess.PIPE, text=True)
    lines = watch.stdout
    assert lines is not None

    def ready() -> int | None:
        [found] = [one for one in json.loads(lines.readline())["queues"] if one["queue"] == "webhooks"]
        count: int | None = found["ready"]
        return count

    wait_until(lambda: ready() == 3)
    vhost.publish("webhooks", b"{}")
    wait_until(lambda: ready() == 4)
    watch.send_signal(signal.SIGINT)
    rest, _ = watch.communicate(timeout=20)
    assert all(json.loads(line)["queues"] for line in rest.splitlines())
    assert watch.returncode == 0


def test_a_watch_for_programs_goes_on_while_rabbitmq_is_away_and_says_so_elsewhere(database_url: str) -> None:
    settings = {"NOUBA_DATABASE_URL": database_url, "NOUBA_RABBITMQ_URL": "amqp://nobody:nothing@127.0.0.1:1/"}
    program = Path(sys.executable).with_name("nouba")
    watch = subprocess.Popen(
        [program, "queues", "--watch", "--json"],
        env=settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    complaints = watch.stderr
    assert complaints is not None
    for _ in range(2):
        assert "RabbitMQ is unavailable" in complaints.readline()
    watch.send_signal(signal.SIGINT)
    reported, _ = watch.communicate(timeout=20)
    assert reported == ""
    assert watch.returncode == 0
