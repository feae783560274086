"""A replay sends each letter once, no matter who else replays or is killed; every action is in the audit log."""

import hashlib
import json
import signal
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, insert

from shared.contracts.webhooks import WebhookReceived
from shared.messaging.actors import encode_message
from shared.operations.audit_log import list_entries
from shared.operations.dead_letters.queries import DeadFilter, DeadLetter, list_dead
from shared.operations.dead_letters.replay import Decision, discard, replay
from shared.schema.tables import dead_letters
from tests.messaging.rabbitmq import VirtualHost
from tests.messaging.test_relay import relaying, waiting
from tests.waiting import wait_until

Run = Callable[..., "subprocess.Popen[str]"]

ALL = DeadFilter(state=None)


def bury(engine: Engine, event_id: int, *, body: bytes | None = None, **changes: object) -> str:
    """A letter as the collector would have kept it."""
    message = encode_message(WebhookReceived(event_id=event_id))
    message["options"] = {"retries": 3, "error": "OSError: away", "requeue_timestamp": 1}
    body = body or json.dumps(message).encode()
    values = {
        "queue": "webhooks",
        "message_id": message["message_id"],
        "cause": "retries",
        "error": "OSError: away",
        "actor": message["actor_name"],
        "arguments": message["kwargs"],
        "attempts": 4,
        "message": body,
        "death": hashlib.sha256(body).hexdigest(),
        "died_at": datetime.now(UTC),
    }
    with engine.begin() as connection:
        connection.execute(insert(dead_letters).values(**values | changes))
    return str(message["message_id"])


def letters(engine: Engine) -> list[DeadLetter]:
    return list(reversed(list_dead(engine, ALL, limit=10_000)))


def asked(**chosen: object) -> Decision:
    return Decision(who="an operator", why="the bank is back", chosen=DeadFilter(**chosen))  # type: ignore[arg-type]


def test_a_replayed_message_arrives_as_it_was_without_what_its_last_life_left(
    engine: Engine, vhost: VirtualHost
) -> None:
    message_id = bury(engine, 7)
    assert replay(engine, asked()).done == 1
    with relaying(engine, vhost):
        wait_until(lambda: waiting(engine) == 0)
    [(properties, body)] = vhost.take_all("webhooks")
    message = json.loads(body)
    assert properties.message_id == message["message_id"] == message_id
    assert message["kwargs"] == {"event_id": 7}
    assert message["options"].keys() == {"replays", "enqueued_at_ms"}
    [letter] = letters(engine)
    assert (letter.state, letter.replays, letter.decided_by, letter.decided_why) == (
        "replayed",
        1,
        "an operator",
        "the bank is back",
    )
    assert letter.replayed_at is not None


def test_an_act_is_written_down_with_who_what_why_and_which(engine: Engine) -> None:
    bury(engine, 1)
    bury(engine, 2, queue="videos")
    replay(engine, asked(queue="videos"))
    [act] = list_entries(engine)
    [letter] = [one for one in letters(engine) if one.queue == "videos"]
    assert (act.who, act.what, act.why) == ("an operator", "dead.replay", "the bank is back")
    assert (act.ids, act.chosen_by) == ([letter.id], {"queue": "videos", "state": "dead"})
    assert list_entries(engine, of_id=letter.id) == [act]


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({"queue": "videos"}, {2}),
        ({"actor": "old.v1"}, {3}),
        ({"cause": "contract"}, {4}),
        ({"error": "100% Away"}, {5}),
        ({"since": datetime(2030, 1, 1, tzinfo=UTC)}, {6}),
        ({"until": datetime(2020, 1, 1, tzinfo=UTC)}, {7}),
        ({"state": None}, {1, 2, 3, 4, 5, 6, 7}),
        ({"queue": "videos", "actor": "old.v1"}, set()),
    ],
)
def test_letters_are_found_by_what_an_operator_knows_of_them(
    engine: Engine, chosen: dict[str, object], expected: set[int]
) -> None:
    bury(engine, 1)
    bury(engine, 2, queue="videos")
    bury(engine, 3, actor="old.v1")
    bury(engine, 4, cause="contract")
    bury(engine, 5, error="Disk 100% away")
    bury(engine, 6, died_at=datetime(2031, 1, 1, tzinfo=UTC))
    bury(engine, 7, died_at=datetime(2019, 1, 1, tzinfo=UTC))
    found = list_dead(engine, DeadFilter(**chosen))  # type: ignore[arg-type]
    assert {letter.arguments["event_id"] for letter in found} == expected


def test_many_letters_go_in_batches_oldest_first_up_to_the_limit(engine: Engine) -> None:
    for event_id in range(250):
        bury(engine, event_id)
    reported: list[int] = []
    decision = Decision(who="an operator", chosen=DeadFilter(), limit=220)
    assert replay(engine, decision, reported.append).done == 220
    assert reported == [100, 200, 220]
    assert [letter.state for letter in letters(engine)] == ["replayed"] * 220 + ["dead"] * 30
    assert len(list_entries(engine)) == 3


def test_a_rate_is_kept(engine: Engine) -> None:
    for event_id in range(6):
        bury(engine, event_id)
    began = datetime.now(UTC)
    replay(engine, Decision(who="an operator", chosen=DeadFilter(), rate=2))
    assert (datetime.now(UTC) - began).total_seconds() >= 2


@pytest.mark.parametrize(("letters_there_are", "limit"), [(1, None), (2, 1)])
def test_nobody_waits_after_the_last_letter(engine: Engine, letters_there_are: int, limit: int | None) -> None:
    for event_id in range(letters_there_are):
        bury(engine, event_id)
    began = datetime.now(UTC)
    decided = replay(engine, Decision(who="an operator", chosen=DeadFilter(), limit=limit, rate=0.05))
    assert decided.done == 1
    assert (datetime.now(UTC) - began).total_seconds() < 10, "it waited the 20 s that belong before the next letter"


@pytest.mark.parametrize(
    "body",
    [b"\xff", b"{}", b"[" * 100_000, b'{"options": {}, "message_id": "\\u0000"}'],
    ids=["bytes", "empty", "deep", "nul"],
)
def test_what_never_was_a_message_is_refused_and_the_others_go(engine: Engine, body: bytes) -> None:
    bury(engine, 1, body=body)
    bury(engine, 2)
    decided = replay(engine, asked())
    broken, good = letters(engine)
    assert decided.done == 1
    assert decided.refused == {broken.id: "its body is no message, so every worker would refuse it again: discard it"}
    assert (broken.state, good.state) == ("dead", "replayed")


def test_a_discarded_letter_stays_as_a_row_and_is_never_sent(engine: Engine) -> None:
    bury(engine, 1)
    assert discard(engine, asked()).done == 1
    assert replay(engine, asked()).done == 0
    [letter] = letters(engine)
    assert (letter.state, letter.decided_by, letter.decided_why) == ("discarded", "an operator", "the bank is back")
    assert waiting(engine) == 0


def test_nothing_is_discarded_without_a_reason(engine: Engine) -> None:
    bury(engine, 1)
    with pytest.raises(ValueError, match="Say why"):
        discard(engine, Decision(who="an operator", chosen=DeadFilter()))
    assert letters(engine)[0].state == "dead"


def test_operators_who_replay_at_once_send_each_letter_once(engine: Engine, database_url: str, run: Run) -> None:
    for event_id in range(400):
        bury(engine, event_id)
    operators = [run("deciding", database_url, f"operator {number}") for number in range(3)]
    done = [int(operator.communicate(timeout=60)[0]) for operator in operators]
    assert sum(done) == waiting(engine) == 400
    assert sorted(one for act in list_entries(engine) for one in act.ids) == sorted(one.id for one in letters(engine))


@pytest.mark.parametrize(("failpoint", "sent"), [("dead.replay.before_commit", 0), ("dead.replay.after_commit", 100)])
def test_an_operator_killed_half_way_has_sent_what_is_marked_and_no_more(
    failpoint: str, sent: int, engine: Engine, database_url: str, vhost: VirtualHost, run: Run
) -> None:
    for event_id in range(150):
        bury(engine, event_id)
    killed = run("deciding", database_url, "an operator", NOUBA_FAILPOINTS=f"{failpoint}=kill")
    assert killed.wait(30) == -signal.SIGKILL
    assert [one.state for one in letters(engine)].count("replayed") == waiting(engine) == sent
    assert replay(engine, asked()).done == 150 - sent
    with relaying(engine, vhost):
        wait_until(lambda: waiting(engine) == 0)
    arrived = [json.loads(body)["kwargs"]["event_id"] for _, body in vhost.take_all("webhooks")]
    assert sorted(arrived) == list(range(150))


def test_a_relay_killed_after_the_publication_sends_the_same_message_again(
    engine: Engine, database_url: str, vhost: VirtualHost, run: Run
) -> None:
    message_id = bury(engine, 1)
    replay(engine, asked())
    killed = run("relay", database_url, vhost.url, NOUBA_FAILPOINTS="relay.after_publish=kill")
    assert killed.wait(30) == -signal.SIGKILL
    with relaying(engine, vhost):
        wait_until(lambda: waiting(engine) == 0)
    assert {properties.message_id for properties, _ in vhost.take_all("webhooks")} == {message_id}
    assert letters(engine)[0].state == "replayed"


def test_a_replayed_message_that_dies_again_is_dead_again_and_one_that_succeeds_stays_replayed(
    engine: Engine, database_url: str, vhost: VirtualHost, run: Run, tmp_path: Path
) -> None:
    journal = tmp_path / "journal"
    journal.touch()
    bury(engine, 1)
    bury(engine, 7)
    run("operated", database_url, vhost.url, str(journal))
    with relaying(engine, vhost):
        for deaths in (2, 3):
            assert replay(engine, asked()).done in (1, 2)
            wait_until(lambda: [one.deaths for one in letters(engine)] == [deaths, 1])  # noqa: B023
    died, succeeded = letters(engine)
    assert (died.state, died.replays, died.cause, died.error) == ("dead", 2, "permanent", "HopelessError")
    assert (succeeded.state, succeeded.replays) == ("replayed", 1)
    assert journal.read_text().count("end 7") == 1


def test_an_old_copy_that_is_collected_late_does_not_undo_a_replay(
    engine: Engine, database_url: str, vhost: VirtualHost, run: Run, tmp_path: Path
) -> None:
    journal = tmp_path / "journal"
    journal.touch()
    bury(engine, 7)
    copy = letters(engine)[0].message
    replay(engine, asked())
    run("operated", database_url, vhost.url, str(journal))
    wait_until(lambda: vhost.consumers("webhooks"))
    vhost.publish("webhooks.XQ", copy)
    wait_until(lambda: vhost.ready("webhooks.XQ") == 0)
    assert [(one.state, one.deaths) for one in letters(engine)] == [("replayed", 1)]
