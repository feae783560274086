"""An operator can follow a webhook from its arrival to the wallet, and have one settled again, once."""

import hashlib
import hmac
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from services.webhook_gateway.inbox.accept import accept
from services.webhook_gateway.inbox.postgres import PostgresInbox
from services.webhook_gateway.providers.base import Request
from services.webhook_gateway.providers.chargily.webhooks import Chargily
from shared.cli import main
from shared.operations.audit_log import list_entries, record
from shared.operations.webhook_events.queries import EventFilter, list_events
from shared.operations.webhook_events.replay import replay_events
from shared.operations.webhook_events.timeline import event_timeline
from shared.runtime.database import build_engine
from tests.integration.settlement import Bench
from tests.webhook_gateway.fakes import NoRateLimit
from tests.webhook_gateway.processes import paid

PROJECT = Path(__file__).parents[3]
REPLAY = """
import sys
from shared.operations.webhook_events.queries import EventFilter
from shared.operations.webhook_events.replay import replay_events
from shared.runtime.database import build_engine
from tests.webhook_gateway.fakes import NoRateLimit
print(len(replay_events(build_engine(sys.argv[1]), EventFilter(state="dead"), who="an operator")[0]))
"""


@pytest.fixture
def bench(database_url: str, rabbitmq_url: str, tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(database_url, rabbitmq_url, tmp_path)
    yield bench
    bench.engine.dispose()


def bury(bench: Bench, event_id: int, state: str = "dead", reason: str = "waited 24 hours in vain") -> None:
    """Settlement has given the event up."""
    with bench.engine.begin() as connection:
        connection.execute(
            text("UPDATE webhook_events SET state = :state, reason = :reason, processed_at = now() WHERE id = :id"),
            {"id": event_id, "state": state, "reason": reason},
        )
        connection.execute(text("DELETE FROM outbox"))


def state_of(bench: Bench, event_id: int) -> str:
    return list_events(bench.engine, EventFilter(ids=(event_id,)))[0].state


def steps(bench: Bench, event_id: int) -> list[str]:
    timeline = event_timeline(bench.engine, event_id)
    assert timeline is not None
    return [step.what for step in timeline.steps]


def replaying(bench: Bench, failpoints: str = "") -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", REPLAY, bench.database_url],
        env={"NOUBA_FAILPOINTS": failpoints},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_timeline_reports_the_way_from_the_arrival_to_the_wallet(bench: Bench) -> None:
    user_id = bench.add_user()
    event_id = bench.pay(user_id, 250_000)
    assert steps(bench, event_id) == ["received", "enqueued"]
    bench.work_until_settled(1)
    assert steps(bench, event_id) == ["received", "published", "payment completed", "booked: payment", "applied"]
    timeline = event_timeline(bench.engine, event_id)
    assert timeline is not None
    booked = next(step for step in timeline.steps if step.what == "booked: payment")
    assert "user_wallet +2,500.00 DZD" in booked.detail
    assert event_timeline(bench.engine, 4711) is None


def test_an_event_that_waited_in_the_spool_says_when_it_left_it(bench: Bench) -> None:
    # Given an event that came while the database was away
    event_id = bench.pay(bench.add_user(), 100)
    with bench.engine.begin() as connection:
        connection.execute(
            text("UPDATE webhook_events SET received_at = now() - interval '10 minutes', drained_at = received_at")
        )

    # When its way is checked, then it left the spool before it was enqueued, and before it was published
    assert steps(bench, event_id) == ["received", "drained", "enqueued"]
    bench.work_until_settled(1)
    assert steps(bench, event_id)[:3] == ["received", "drained", "published"]
    assert re.search(r"drained +it had waited in the gateway's spool", nouba(bench, "webhooks", "show", str(event_id)))


def test_a_message_that_died_is_on_the_timeline(bench: Bench) -> None:
    event_id = bench.pay(bench.add_user(), 100)
    with bench.engine.begin() as connection:
        for fields in ({"event_id": event_id}, {"event_id": "one"}):
            connection.execute(
                text(
                    "INSERT INTO dead_letters (queue, message_id, cause, error, actor, arguments, attempts, message,"
                    " death, died_at) VALUES ('webhooks', :fields, 'retries', 'OSError: away', 'webhooks.received.v1',"
                    " CAST(:fields AS jsonb), 17, '', '', now())"
                ),
                {"fields": json.dumps(fields)},
            )
    assert steps(bench, event_id).count("message died") == 1


def test_a_dead_event_is_settled_by_a_replay_and_credited_once(bench: Bench) -> None:
    user_id = bench.add_user()
    event_id = bench.pay(user_id, 250_000)
    bury(bench, event_id)
    assert replay_events(bench.engine, EventFilter(ids=(event_id,)), who="ops", why="it is known now") == (
        [event_id],
        {},
    )
    # to replay twice is to replay once
    replay_events(bench.engine, EventFilter(ids=(event_id,)), who="ops")
    bench.work_until_settled(1)
    bench.assert_booked_once(event_id, user_id, 250_000)
    assert replay_events(bench.engine, EventFilter(ids=(event_id,)), who="ops") == (
        [],
        {event_id: "it is applied: payment 1 is completed"},
    )
    bench.assert_books_balance()
    first = list_entries(bench.engine, of_id=event_id)[-1]
    assert (first.who, first.what, first.why, first.ids) == ("ops", "webhook.replay", "it is known now", [event_id])
    # an entry of the previous release says `event`
    with bench.engine.begin() as connection:
        record(connection, who="ops", what="event.undo", why="it was no test", ids=[event_id])
    assert {"webhook.replay", "event.undo"} <= set(steps(bench, event_id))


def test_what_is_settled_is_left_as_it_is(bench: Bench) -> None:
    applied = bench.pay(bench.add_user(), 100)
    bury(bench, applied, "applied", "booked")
    ignored = bench.pay(bench.add_user(), 100)
    bury(bench, ignored, "ignored", "no news")
    assert replay_events(bench.engine, EventFilter(), who="ops") == ([], {})
    assert bench.scalar("SELECT count(*) FROM outbox") == 0
    assert list_entries(bench.engine) == []


def test_an_event_signed_with_a_test_key_is_never_settled_as_a_real_one(bench: Bench) -> None:
    news = paid("chargily")
    live = news.body.replace(b'"livemode":false', b'"livemode":true')
    secret = "test_sk_events"
    headers = {"signature": _signature(secret, live)}
    inbox = PostgresInbox(build_engine(bench.database_url, pool_size=1, autocommit=True))
    receipt = accept(Chargily([secret]), Request("POST", headers, live), inbox, lambda: None, NoRateLimit())
    assert receipt.event_id is not None
    reported, refused = replay_events(bench.engine, EventFilter(ids=(receipt.event_id,)), who="ops")
    assert (reported, list(refused)) == ([], [receipt.event_id])
    assert state_of(bench, receipt.event_id) == "quarantined"


@pytest.mark.parametrize(
    ("failpoint", "replayed"), [("events.replay.before_commit", 0), ("events.replay.after_commit", 100)]
)
def test_an_operator_killed_half_way_leaves_state_and_message_together(
    bench: Bench, failpoint: str, replayed: int
) -> None:
    user_id = bench.add_user()
    events = [bench.pay(user_id, 100) for _ in range(110)]
    for event_id in events:
        bury(bench, event_id)
    killed = replaying(bench, f"{failpoint}=kill")
    assert killed.wait(30) < 0
    assert bench.scalar("SELECT count(*) FROM webhook_events WHERE state = 'received'") == replayed
    assert bench.scalar("SELECT count(*) FROM outbox") == replayed
    assert replaying(bench).communicate(timeout=30)[0] == f"{110 - replayed}\n"


def test_operators_at_once_replay_each_event_once(bench: Bench) -> None:
    user_id = bench.add_user()
    for _ in range(60):
        bury(bench, bench.pay(user_id, 100))
    operators = [replaying(bench) for _ in range(3)]
    done = [int(operator.communicate(timeout=60)[0]) for operator in operators]
    assert sum(done) == 60
    bench.work_until_settled(60)
    assert bench.scalar("SELECT balance_minor FROM users WHERE id = :id", id=user_id) == 6_000
    bench.assert_books_balance()


def nouba(bench: Bench, *arguments: str, status: int = 0) -> str:
    settings = {"NOUBA_DATABASE_URL": bench.database_url, "COLUMNS": "200"}
    result = CliRunner().invoke(main, arguments, env=settings)
    assert result.exit_code == status, result.output
    return result.output


def test_the_command_shows_no_body_unless_asked(bench: Bench) -> None:
    event_id = bench.pay(bench.add_user(), 100, card_holder="a canary")
    quiet = [
        ("webhooks", "list"),
        ("webhooks", "show", str(event_id)),
        ("webhooks", "show", str(event_id), "--json"),
    ]
    for arguments in quiet:
        assert "canary" not in nouba(bench, *arguments)
    assert "a canary" in nouba(bench, "webhooks", "show", str(event_id), "--body")
    assert "There is no webhook" in nouba(bench, "webhooks", "show", "4711", status=1)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], 3),
        (["--state", "dead"], 1),
        (["--with-reason", "VAIN"], 1),
        (["--provider", "stripe"], 0),
        (["--since", "1h"], 3),
        (["--until", "1h"], 0),
    ],
)
def test_the_command_finds_events_by_what_is_known_of_them(bench: Bench, options: list[str], expected: int) -> None:
    for state, reason in (("dead", "waited in vain"), ("applied", "booked"), ("quarantined", "EUR")):
        bury(bench, bench.pay(bench.add_user(), 100), state, reason)
    reported = json.loads(nouba(bench, "webhooks", "list", "--json", *options))
    assert reported["count"] == len(reported["events"]) == expected


def test_the_command_replays_what_it_is_asked_for_and_no_more(bench: Bench) -> None:
    dead, quarantined = (bench.pay(bench.add_user(), 100) for _ in range(2))
    bury(bench, dead)
    bury(bench, quarantined, "quarantined", "EUR is not the school's currency")
    assert json.loads(nouba(bench, "webhooks", "replay", "--since", "1h", "--dry-run", "--json"))["would_be"] == 2
    assert "Say which webhooks" in nouba(bench, "webhooks", "replay", status=2)
    assert "is settled" in nouba(bench, "webhooks", "replay", "--state", "applied", status=2)
    reported = json.loads(nouba(bench, "webhooks", "replay", "--state", "dead", "--actor-name", "ops", "--json"))
    assert reported == {"replayed": [dead], "refused": {}}
    assert (state_of(bench, dead), state_of(bench, quarantined)) == ("received", "quarantined")
    assert [act.who for act in list_entries(bench.engine)] == ["ops"]


def test_the_operators_guide_names_modules_that_are_there() -> None:
    named = re.findall(r"`([\w/]+\.py)`", (PROJECT / "docs/dead-letters.md").read_text())

    assert named
    assert [name for name in named if not (PROJECT / name).is_file()] == []


def _signature(secret: str, body: bytes) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
