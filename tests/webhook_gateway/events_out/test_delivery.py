"""Deliveries by a real worker to endpoints that answer well, badly, slowly or not at all."""

import re
import threading

import pytest
from standardwebhooks.webhooks import WebhookVerificationError

from local.free_port import free_port
from shared.operations.webhook_endpoints.endpoints import ReplayFilter
from tests.command_line import nouba
from tests.waiting import wait_until
from tests.webhook_gateway.events_out.processes import (
    RunningEvents,
    add,
    due_now,
    endpoints_of,
    logs,
    record,
    states,
)
from tests.webhook_gateway.events_out.receivers import Receiver, drip, hang_up
from tests.webhook_gateway.processes import Database

pytestmark = pytest.mark.usefixtures("worker")


def test_an_endpoint_gets_the_types_that_it_asked_for(database: Database) -> None:
    with Receiver.listening() as some, Receiver.listening() as every:
        add(database, some.url, "lesson.ready")
        add(database, every.url)
        record(database, 1)
        record(database, 2, kind="lesson.ready")
        wait_until(lambda: len(every.received) == 2, 10, "not all were delivered")
        wait_until(lambda: some.types() == ["lesson.ready"], 10, "its type was not delivered")


@pytest.mark.parametrize(
    ("answer", "reported"),
    [
        (500, {"status": 500}),
        (302, {"status": 302}),
        (drip, {"error": "timeout"}),
        (hang_up, {"error": "not HTTP, or cut off"}),
    ],
)
def test_a_failed_attempt_is_logged_and_tried_again(
    database: Database, answer: object, reported: dict[str, object]
) -> None:
    # Given an endpoint that fails once, in its way
    with Receiver.listening(lambda number, _: answer if number == 1 else 200) as school:
        endpoint_id, _ = add(database, school.url)
        (event_id,) = record(database, 1)
        wait_until(lambda: logs(database, endpoint_id) not in ([], [[]]), 10, "no attempt was logged")

        # When the retry is due
        due_now(database)

        # Then it is delivered under the same id, and both attempts are in the log
        wait_until(lambda: states(database) == {"delivered": 1}, 10, "it was not tried again")
        assert school.ids() == [event_id, event_id]
        assert {one.path for one in school.received} == {"/hooks?school=1"}
        ((first, second),) = logs(database, endpoint_id)
        assert {name: first.get(name) for name in reported} == reported
        assert second["status"] == 200


def test_an_endpoint_that_is_gone_is_disabled_at_once(database: Database, worker: RunningEvents) -> None:
    with Receiver.listening(410) as school:
        endpoint_id, _ = add(database, school.url)
        record(database, 1)
        wait_until(lambda: not endpoints_of(database).show(endpoint_id).enabled, 10, "it was not disabled")
        record(database, 2)
        wait_until(lambda: database.rows("SELECT FROM events WHERE fanned_out_at IS NULL") == [], 10, "not fanned out")
        assert endpoints_of(database).show(endpoint_id).disabled_because == "gone"
        assert len(school.received) == 1
        assert "endpoint disabled" in worker.log


def test_an_endpoint_that_fails_for_days_is_disabled(database: Database) -> None:
    endpoint_id, _ = add(database, f"http://127.0.0.1:{free_port()}/")
    database.execute("UPDATE webhook_endpoints SET failures = 3, failing_since_at = now() - interval '6 days'")
    record(database, 1)
    wait_until(lambda: not endpoints_of(database).show(endpoint_id).enabled, 10, "it was not disabled")
    assert endpoints_of(database).show(endpoint_id).disabled_because == "failing"


def test_an_endpoint_that_is_down_is_held_and_delays_no_other(database: Database) -> None:
    # Given an endpoint that drips and one that refuses, beside a healthy one
    with Receiver.listening(lambda *_: drip) as slow, Receiver.listening() as healthy:
        slow_id, _ = add(database, slow.url)
        down_id, _ = add(database, f"http://127.0.0.1:{free_port()}/")
        add(database, healthy.url)

        # When many events come
        sent = record(database, 1, 200)

        # Then the healthy one has them all while the slow one has timed out a few times
        wait_until(lambda: sorted(healthy.ids()) == sorted(sent), 10, "the healthy endpoint waited")
        assert len(slow.received) < 20
        wait_until(lambda: endpoints_of(database).show(down_id).held_until_at is not None, 10, "it was not held")
        wait_until(lambda: endpoints_of(database).show(slow_id).failures > 0, 10, "the slow one has not timed out")


def test_events_of_one_key_keep_their_order_where_asked(database: Database) -> None:
    # Given an ordered endpoint that fails the first event of one key
    refused: list[str] = []

    def answer(number: int, event: dict[str, object]) -> int:
        if not refused:
            refused.append(str(event["id"]))
            return 503
        return 200

    with Receiver.listening(answer) as school:
        add(database, school.url, ordered=True)
        first = record(database, 1, 3)
        wait_until(lambda: len(school.received) == 1, 10, "nothing came")
        other = record(database, 2, 3)

        # Then another key goes on, and this one waits for its first event
        wait_until(lambda: [one for one in school.ids() if one in other] == other, 20, "the other key waited")
        assert [one for one in school.ids() if one in first] == first[:1]
        due_now(database)
        wait_until(lambda: states(database) == {"delivered": 6}, 20, "the key did not go on")
        assert [one for one in school.ids() if one in first] == [first[0], *first]


def test_both_secrets_sign_while_one_is_rotated(database: Database) -> None:
    with Receiver.listening() as school:
        endpoint_id, old = add(database, school.url)
        new = endpoints_of(database).rotate(endpoint_id, who="test")
        record(database, 1)
        wait_until(lambda: len(school.received) == 1, 10, "nothing came")
        school.received[0].verify(old)
        school.received[0].verify(new)

        # When the time of the old one is over
        database.execute("UPDATE webhook_endpoints SET previous_until_at = now()")
        record(database, 2)

        # Then the new one signs alone
        wait_until(lambda: len(school.received) == 2, 10, "nothing came")
        school.received[1].verify(new)
        with pytest.raises(WebhookVerificationError):
            school.received[1].verify(old)


def test_a_replay_sends_again_what_is_chosen(database: Database) -> None:
    with Receiver.listening() as school:
        before = record(database, 1, 2)
        wait_until(lambda: database.rows("SELECT FROM events WHERE fanned_out_at IS NULL") == [], 10, "not fanned out")
        endpoint_id, _ = add(database, school.url)
        lessons = record(database, 2, 2, "lesson.ready")
        wait_until(lambda: states(database) == {"delivered": 2}, 10, "not delivered")

        # What came before the endpoint was there, of one type
        assert endpoints_of(database).replay(endpoint_id, ReplayFilter(["lesson.ready"]), who="test").events == 2
        wait_until(lambda: sorted(school.ids()) == sorted(2 * lessons), 10, "not replayed")
        wait_until(lambda: states(database) == {"delivered": 2}, 10, "not recorded")

        # What failed for good
        database.execute("UPDATE webhook_deliveries SET state = 'failed' WHERE event_id = %s", int(lessons[0][4:]))
        assert endpoints_of(database).replay(endpoint_id, ReplayFilter(only_failed=True), who="test").events == 1
        wait_until(lambda: school.ids().count(lessons[0]) == 3, 10, "not replayed")
        assert endpoints_of(database).replay(endpoint_id, ReplayFilter(["wallet.changed"]), who="test").events == 2
        wait_until(lambda: set(before) <= set(school.ids()), 10, "not replayed")


def test_what_waits_for_a_receiver_that_is_back_is_sent_now_once_and_in_order(database: Database) -> None:
    # Given an ordered endpoint that failed twice, so that its first event waits for five minutes, and is held
    is_back = threading.Event()
    with Receiver.listening(lambda *_: 200 if is_back.is_set() else 503) as school:
        endpoint_id, _ = add(database, school.url, ordered=True)
        sent = record(database, 1, 3)
        wait_until(lambda: attempts(database, endpoint_id) == 1, 30, "nothing was tried")
        due_now(database)
        wait_until(lambda: attempts(database, endpoint_id) == 2, 30, "it was not tried again")
        database.execute("UPDATE webhook_endpoints SET failures = 9, held_until_at = now() + interval '1 hour'")
        is_back.set()

        # When it is replayed twice
        replay = endpoints_of(database).replay
        found = [replay(endpoint_id, ReplayFilter(only_failed=True), who="test").events for _ in range(2)]

        # Then it is sent once, and the events of its key follow in their order
        wait_until(lambda: states(database) == {"delivered": 3}, 30, "it was not sent now")
        assert found == [1, 0]
        assert school.ids() == [sent[0], sent[0], *sent]


def attempts(database: Database, endpoint_id: int) -> int:
    """The attempts of the endpoint's oldest delivery."""
    return len(next(iter(logs(database, endpoint_id)), []))


def test_a_ping_goes_to_one_endpoint_whatever_its_types(database: Database) -> None:
    with Receiver.listening() as school, Receiver.listening() as other:
        endpoint_id, secret = add(database, school.url, "lesson.ready")
        add(database, other.url)
        event_id = endpoints_of(database).ping(endpoint_id, who="test")
        wait_until(lambda: school.ids() == [event_id], 10, "no ping came")
        school.received[0].verify(secret)
        assert other.received == []


@pytest.mark.parametrize(("answer", "state", "status"), [(200, "delivered", 0), (503, "pending", 1)])
def test_the_command_shows_the_answer_to_its_ping(database: Database, answer: int, state: str, status: int) -> None:
    with Receiver.listening(lambda *_: answer) as school:
        endpoint_id, _ = add(database, school.url)
        environment = {"NOUBA_DATABASE_URL": database.url}

        shown = nouba("endpoints", "ping", str(endpoint_id), "--wait", "30", **environment)

        assert shown.returncode == status
        assert re.fullmatch(rf"evt_\d+ is {state}: {answer}, \d+ ms\n", shown.stdout)


def test_a_replay_of_all_events_needs_a_beginning_or_an_id(database: Database) -> None:
    refused = nouba("endpoints", "replay", "1", "--all", NOUBA_DATABASE_URL=database.url)

    assert (refused.returncode, "--all needs --since, or --event" in refused.stderr) == (2, True)
