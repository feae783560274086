"""What an operator does on the pages is done, once, and written down with who and why."""

import pytest

from tests.console.clients import WHO, Person
from tests.console.factories import acts, bury, bury_nonsense, keep_event
from tests.webhook_gateway.processes import Database

#: Browsers drop a cookie that is longer.
MAX_COOKIE_BYTES = 4093


def test_a_queue_is_let_rest_and_worked_on_again(operator: Person, database: Database) -> None:
    # When a queue is paused
    operator.send("/queues", "/queues/videos/pause", why="S3 moves")

    # Then it rests, the page says so and by whom, and the audit has it
    assert database.rows("SELECT queue, who FROM queue_pauses") == [("videos", WHO)]
    assert f"by {WHO}" in operator.read("/queues")
    assert acts(database) == [(WHO, "queue.pause", "S3 moves", ["videos"])]

    # When it is resumed, then it does not rest any more
    operator.send("/queues", "/queues/videos/resume")
    assert database.rows("SELECT queue FROM queue_pauses") == []
    assert "is resumed" in operator.read("/queues")


def test_a_queue_that_is_not_there_is_a_404(operator: Person) -> None:
    assert operator.send("/queues", "/queues/nothing/pause").status_code == 404


def test_ticked_letters_are_sent_again_and_the_others_stay(operator: Person, database: Database) -> None:
    # Given three dead letters
    first, second, third = (bury(database, number) for number in (1, 2, 3))

    # When two of them are ticked and sent again
    operator.send("/dead", "/dead/replay", which="ticked", id=[first, third], why="mended")

    # Then these two are in the outbox with their old ids, and the third is dead still
    states = dict(database.rows("SELECT id, state FROM dead_letters"))
    assert states == {first: "replayed", second: "dead", third: "replayed"}
    sent = database.rows("SELECT message ->> 'message_id' FROM outbox ORDER BY id")
    assert sent == [("m-1",), ("m-3",)]
    assert acts(database) == [(WHO, "dead.replay", "mended", [first, third])]
    assert "2 replayed" in operator.read("/dead")


def test_all_that_the_filter_finds_are_sent_again_in_one_go(operator: Person, database: Database) -> None:
    # Given letters of two errors
    wanted = [bury(database, number, error="StorageAway: S3 is away") for number in range(10)]
    other = bury(database, 99, error="ValueError: no")

    # When all with the one error are sent again
    operator.send("/dead?error=s3+is+away", "/dead/replay", which="all", error="s3 is away")

    # Then it is these, ticked or not
    assert database.rows("SELECT id FROM dead_letters WHERE state = 'replayed' ORDER BY id") == [
        (one,) for one in wanted
    ]
    assert database.rows("SELECT id FROM dead_letters WHERE state = 'dead'") == [(other,)]


def test_letters_are_given_up_only_with_a_reason(operator: Person, database: Database) -> None:
    # Given a dead letter
    letter = bury(database, 1)

    # When it is given up without a reason, then it is not
    assert operator.send("/dead", "/dead/discard", which="ticked", id=letter, why=" ").status_code == 400
    assert database.rows("SELECT state FROM dead_letters") == [("dead",)]

    # When there is one, then it is
    operator.send("/dead", "/dead/discard", which="ticked", id=letter, why="a test of the provider")
    assert database.rows("SELECT state, decided_why FROM dead_letters") == [("discarded", "a test of the provider")]
    assert "a test of the provider" in operator.read(f"/dead/{letter}")


def test_a_replay_of_many_that_no_worker_can_read_is_reported_in_few_words(
    operator: Person, database: Database
) -> None:
    # Given more letters that cannot be sent again than a cookie could name, and one that can
    bury_nonsense(database, 60)
    bury(database, 99)

    # When all are sent again
    answer = operator.send("/dead", "/dead/replay", which="all")

    # Then what is reported fits into the session, and counts those it does not name
    assert max(len(cookie) for cookie in answer.headers.getlist("Set-Cookie")) <= MAX_COOKIE_BYTES
    page = operator.read("/dead")
    assert "1 replayed." in page
    assert page.count(" was skipped: its body is no message") == 5
    assert "55 more were skipped." in page


def test_a_letter_shows_what_was_done_to_it_and_not_to_a_webhook_of_its_number(
    operator: Person, database: Database
) -> None:
    # Given a letter that was given up, and a webhook with the same number that was booked again
    letter = bury(database, 1)
    operator.send("/dead", "/dead/discard", which="ticked", id=letter, why="a test of the provider")
    database.execute(
        "INSERT INTO operator_acts (who, what, why, ids)"
        " VALUES ('ops', 'webhook.replay', 'of the webhook', jsonb_build_array(%s))",
        letter,
    )

    # When the letter is checked, then only its own are there
    page = operator.read(f"/dead/{letter}")
    assert "dead.discard" in page
    assert "of the webhook" not in page


def test_nothing_ticked_is_nothing_done(operator: Person, database: Database) -> None:
    # Given a dead letter that is not ticked
    bury(database, 1)

    # When the form is sent, then it is refused, not taken for all
    assert operator.send("/dead", "/dead/replay", which="ticked").status_code == 400
    assert database.rows("SELECT state FROM dead_letters") == [("dead",)]


@pytest.mark.parametrize("link", ["/dead?which=all", "/dead?id=2", "/dead?why=because", "/dead?endpoint=x"])
def test_a_link_chooses_nothing_for_the_operator(operator: Person, database: Database, link: str) -> None:
    # Given letters on a page that somebody else has made the address of
    for number in range(60):
        bury(database, number)
    page = operator.read(link)

    # When its form is checked, then nothing of that address is in it
    for name in ("which", "id", "why"):
        assert f'type="hidden" name="{name}"' not in page


def test_a_quarantined_webhook_is_booked_again(operator: Person, database: Database) -> None:
    # Given a webhook that waits for a decision
    event = keep_event(database, "quarantined", "amount differs: 100 announced, 200 paid")

    # When the operator has it booked again
    operator.send(f"/webhooks/{event}", f"/webhooks/{event}/replay", why="the school corrected the order")

    # Then it is received once more, its message is in the outbox, and its page reports who did it
    assert database.rows("SELECT state FROM webhook_events") == [("received",)]
    assert database.rows("SELECT message #>> '{kwargs,event_id}' FROM outbox") == [(str(event),)]
    assert WHO in operator.read(f"/webhooks/{event}")


def test_a_booked_webhook_is_not_booked_again(operator: Person, database: Database) -> None:
    # Given a webhook that was booked, whose page offers nothing
    event = keep_event(database, "applied")
    assert "Book it again" not in operator.read(f"/webhooks/{event}")

    # When the form is sent all the same
    operator.send("/webhooks", f"/webhooks/{event}/replay")

    # Then nothing happens, and that is said
    assert database.rows("SELECT count(*) FROM outbox") == [(0,)]
    assert "Not replayed" in operator.read("/webhooks")
