"""Every message that dies becomes a row that says what killed it, and leaves RabbitMQ after that and not before."""

import json
import signal
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine

from local.postgres import Postgres
from shared.contracts.webhooks import WebhookReceived
from shared.messaging.actors import encode_message
from shared.messaging.topology import declarations
from shared.operations.dead_letters.queries import DeadFilter, DeadLetter, list_dead
from shared.runtime.database import build_engine
from tests.messaging.rabbitmq import Node, VirtualHost
from tests.waiting import wait_until

Run = Callable[..., "subprocess.Popen[str]"]

EVERYTHING = DeadFilter(state=None)
PROJECT = Path(__file__).parents[3]


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    journal = tmp_path / "journal"
    journal.touch()
    return journal


def send(vhost: VirtualHost, event_id: object, **changes: object) -> str:
    message = encode_message(WebhookReceived(event_id=1)) | {"kwargs": {"event_id": event_id}} | changes
    vhost.publish("webhooks", json.dumps(message).encode())
    return str(message["message_id"])


def letter_of(engine: Engine, message_id: str) -> DeadLetter:
    """The letter, once it is there and says why."""

    def found() -> DeadLetter | None:
        letters = [one for one in list_dead(engine, EVERYTHING) if one.message_id == message_id and one.error]
        return letters[0] if letters else None

    letter = wait_until(found)
    assert letter is not None
    return letter


def test_a_message_whose_retries_are_used_up_is_kept_with_the_last_error(
    engine: Engine, database_url: str, vhost: VirtualHost, run: Run, journal: Path
) -> None:
    run("operated", database_url, vhost.url, str(journal))
    wait_until(lambda: vhost.consumers("webhooks"))
    message_id = send(vhost, 2)
    letter = letter_of(engine, message_id)
    assert (letter.queue, letter.actor, letter.arguments) == ("webhooks", "webhooks.received.v1", {"event_id": 2})
    assert (letter.cause, letter.error) == ("retries", "ConnectionError: the school is away")
    assert (letter.attempts, letter.deaths, letter.state) == (2, 1, "dead")
    assert letter.x_death[0]["queue"] == "webhooks"
    assert letter.x_death[0]["reason"] == "rejected"
    assert vhost.ready("webhooks.XQ") == 0


@pytest.mark.parametrize(
    ("event_id", "cause", "error"),
    [
        (1, "permanent", "HopelessError"),
        ("one", "contract", "ContractError: webhooks.received.v1.event_id: 'one' is not of type int"),
    ],
)
def test_a_message_that_no_retry_can_help_is_kept_with_its_first_error(
    event_id: object,
    cause: str,
    error: str,
    engine: Engine,
    database_url: str,
    vhost: VirtualHost,
    run: Run,
    journal: Path,
) -> None:
    run("operated", database_url, vhost.url, str(journal))
    wait_until(lambda: vhost.consumers("webhooks"))
    letter = letter_of(engine, send(vhost, event_id))
    assert (letter.cause, letter.error, letter.attempts) == (cause, error, 1)


def test_a_message_of_an_unknown_actor_is_kept(
    engine: Engine, database_url: str, vhost: VirtualHost, run: Run, journal: Path
) -> None:
    run("operated", database_url, vhost.url, str(journal))
    wait_until(lambda: vhost.consumers("webhooks"))
    letter = letter_of(engine, send(vhost, 5, actor_name="webhooks.received.v9"))
    assert (letter.cause, letter.actor, letter.arguments) == (
        "unknown_actor",
        "webhooks.received.v9",
        {"event_id": 5},
    )


HOSTILE = {
    "no text": b"\xff\xfe\x00\x01",
    "no JSON": b"{",
    "no object": b"[1, 2]",
    "nested too deeply": b"[" * 100_000,
    "a key too much": json.dumps(encode_message(WebhookReceived(event_id=3)) | {"extra": 1}).encode(),
    "a number without end": json.dumps(encode_message(WebhookReceived(event_id=3))).replace(": 3", ": 1e999").encode(),
    "no number": json.dumps(
        encode_message(WebhookReceived(event_id=3)) | {"kwargs": {"event_id": float("nan")}}
    ).encode(),
}


def test_a_body_that_nobody_can_read_is_kept_byte_for_byte(
    engine: Engine, database_url: str, vhost: VirtualHost, run: Run, journal: Path
) -> None:
    run("operated", database_url, vhost.url, str(journal))
    wait_until(lambda: vhost.consumers("webhooks"))
    for body in HOSTILE.values():
        vhost.publish("webhooks", body)
    wait_until(lambda: len(list_dead(engine, EVERYTHING)) == len(HOSTILE))
    found = list_dead(engine, EVERYTHING)
    assert {letter.message for letter in found} == set(HOSTILE.values())
    assert {letter.cause for letter in found} <= {"undecodable", "contract"}


def test_a_malformed_message_does_not_hold_up_those_behind_it(
    engine: Engine, database_url: str, vhost: VirtualHost, run: Run, journal: Path
) -> None:
    run("operated", database_url, vhost.url, str(journal))
    wait_until(lambda: vhost.consumers("webhooks"))
    malformed = json.dumps(encode_message(WebhookReceived(event_id=3)) | {"args": [1], "kwargs": []}).encode()
    innocent = json.dumps(encode_message(WebhookReceived(event_id=4))).encode()
    vhost.publish("webhooks.XQ", malformed)
    vhost.publish("webhooks.XQ", innocent)
    wait_until(lambda: len(list_dead(engine, EVERYTHING)) == 2)
    assert {letter.message for letter in list_dead(engine, EVERYTHING)} == {malformed, innocent}


def test_text_that_postgresql_would_refuse_does_not_stop_the_collector(
    engine: Engine, database_url: str, vhost: VirtualHost, run: Run, journal: Path
) -> None:
    run("operated", database_url, vhost.url, str(journal))
    wait_until(lambda: vhost.consumers("webhooks"))
    send(vhost, 5, actor_name="nul\0", message_id="id\0", kwargs={"a\0": "\ud800"}, args=["\0"])
    send(vhost, 5, actor_name="long", message_id="x" * 10_000)
    wait_until(lambda: len(list_dead(engine, EVERYTHING)) == 2)
    last, first = list_dead(engine, EVERYTHING)
    assert first.arguments == {"*": ["\ufffd"], "a\ufffd": "?"}
    assert last.message_id.startswith("sha256:")


def test_a_message_that_kills_its_worker_each_time_is_kept(
    engine: Engine, database_url: str, vhost: VirtualHost, run: Run, journal: Path
) -> None:
    worker = run("operated", database_url, vhost.url, str(journal))
    wait_until(lambda: vhost.consumers("webhooks"))
    message_id = send(vhost, 0)
    for _ in range(6):
        assert worker.wait(20) == -signal.SIGKILL
        worker = run("operated", database_url, vhost.url, str(journal))
    letter = letter_of(engine, message_id)
    assert letter.cause == letter.x_death[0]["reason"] == "delivery_limit"
    assert journal.read_text().count("begin 0") == 6


@pytest.mark.parametrize("failpoint", ["dead.after_keep", "dead.after_ack"])
def test_a_collector_killed_around_the_acknowledgement_has_kept_the_message_once(
    failpoint: str, engine: Engine, database_url: str, vhost: VirtualHost, run: Run, journal: Path
) -> None:
    killed = run("operated", database_url, vhost.url, str(journal), NOUBA_FAILPOINTS=f"{failpoint}=kill")
    wait_until(lambda: vhost.consumers("webhooks"))
    message_id = send(vhost, 1)
    assert killed.wait(20) == -signal.SIGKILL
    if failpoint == "dead.after_keep":
        wait_until(lambda: vhost.ready("webhooks.XQ") == 1)
    assert [letter.message_id for letter in list_dead(engine, EVERYTHING)] == [message_id]
    run("operated", database_url, vhost.url, str(journal))
    wait_until(lambda: vhost.consumers("webhooks") and vhost.ready("webhooks.XQ") == 0)
    # one more, so that the collector has surely been there
    letter_of(engine, send(vhost, 1))
    [letter] = [one for one in list_dead(engine, EVERYTHING) if one.message_id == message_id]
    assert (letter.deaths, letter.error) == (1, "HopelessError")


def test_another_process_may_collect_and_the_killer_reports_why_all_the_same(
    engine: Engine, database_url: str, vhost: VirtualHost, run: Run, journal: Path
) -> None:
    for _ in range(2):
        run("operated", database_url, vhost.url, str(journal))
    wait_until(lambda: vhost.consumers("webhooks") == 2)
    sent = {send(vhost, 1) for _ in range(40)}
    wait_until(lambda: len(list_dead(engine, EVERYTHING)) == 40)
    wait_until(lambda: {letter.error for letter in list_dead(engine, EVERYTHING)} == {"HopelessError"})
    assert {letter.message_id for letter in list_dead(engine, EVERYTHING)} == sent
    assert {letter.cause for letter in list_dead(engine, EVERYTHING)} == {"permanent"}


def test_while_postgresql_is_away_dead_letters_wait_in_rabbitmq(
    own_postgres: Postgres, vhost: VirtualHost, run: Run, journal: Path
) -> None:
    run("operated", own_postgres.url, vhost.url, str(journal))
    wait_until(lambda: vhost.consumers("webhooks"))
    own_postgres.kill()
    message_id = send(vhost, 1)
    wait_until(lambda: "begin 1" in journal.read_text())
    wait_until(lambda: vhost.ready("webhooks.XQ") == 1)
    own_postgres.start()
    engine = build_engine(own_postgres.url)
    wait_until(lambda: vhost.ready("webhooks.XQ") == 0)
    assert letter_of(engine, message_id).error == "HopelessError"
    engine.dispose()


@pytest.mark.slow
def test_rabbitmq_may_crash_under_the_collector(
    engine: Engine, database_url: str, vhost: VirtualHost, node: Node, run: Run, journal: Path
) -> None:
    run("operated", database_url, vhost.url, str(journal))
    wait_until(lambda: vhost.consumers("webhooks"))
    first = send(vhost, 1)
    assert letter_of(engine, first).deaths == 1
    vhost.wait_until_crash_safe("webhooks")
    node.kill()
    node.start()
    wait_until(lambda: vhost.consumers("webhooks"))
    second = send(vhost, 1)
    assert letter_of(engine, second).deaths == 1


def test_a_dead_message_stays_however_often_it_comes_back(vhost: VirtualHost) -> None:
    # Given the policy as it is deployed: each RabbitMQ takes it, and 4 drops after twenty returns without it
    (policy,) = json.loads((PROJECT / "deploy/rabbitmq/definitions.json").read_text())["policies"]
    vhost.set_policy(policy["pattern"], policy["definition"])
    queues = {one.name: dict(one.arguments) for one in declarations("webhooks")}
    channel = vhost.channel()
    for name, arguments in queues.items():
        channel.queue_declare(name, durable=True, arguments=arguments)
    channel.connection.close()
    vhost.publish("webhooks.XQ", b"dead")

    for _ in range(25):
        taken = vhost.channel()
        wait_until(lambda taken=taken: taken.basic_get("webhooks.XQ")[0])  # type: ignore[misc]
        taken.connection.close()

    wait_until(lambda: vhost.ready("webhooks.XQ") == 1)
    limits = wait_until(lambda: vhost.policy_of("webhooks.XQ"))
    assert limits["delivery-limit"] > 1_000_000
    assert not vhost.policy_of("webhooks")
    assert not vhost.policy_of("webhooks.DQ")


def test_prometheus_is_shown_what_is_dead(
    engine: Engine, database_url: str, vhost: VirtualHost, run: Run, journal: Path
) -> None:
    run("operated", database_url, vhost.url, str(journal))
    wait_until(lambda: vhost.consumers("webhooks"))
    letter_of(engine, send(vhost, 1))
    port = journal.read_text().split()[1]

    def reported() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            return str(answer.read().decode())

    wait_until(lambda: 'nouba_dead_letters_collected_total{queue="webhooks"} 1.0' in reported())
    wait_until(lambda: 'nouba_dead_letters{queue="webhooks",state="dead"} 1.0' in reported(), timeout_seconds=20)
    assert 'nouba_dead_letters{queue="webhooks",state="replayed"} 0.0' in reported()
