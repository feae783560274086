"""What an operator chooses as "all" is what the page has counted, and can be previewed before it is done."""

import json
import re
from typing import Any

import pytest

from services.console.read_routes import MAX_BULK_ACTION
from tests.console.clients import Person, hidden_fields
from tests.console.factories import bury, bury_nonsense
from tests.webhook_gateway.processes import Database


def states(database: Database) -> dict[int, str]:
    return dict(database.rows("SELECT id, state FROM dead_letters"))


@pytest.mark.parametrize(("action", "state"), [("/dead/replay", "replayed"), ("/dead/discard", "discarded")])
def test_all_are_those_of_the_page_and_none_that_died_since(
    operator: Person, database: Database, action: str, state: str
) -> None:
    # Given a page with three dead letters, an older one that was sent again, and its form
    again = bury(database, 1)
    database.execute("UPDATE dead_letters SET state = 'replayed'")
    shown = [bury(database, number) for number in (2, 3, 4)]
    form = operator.hidden("/dead")

    # When another message dies, and the one that was sent again dies once more, before the operator decides
    new = bury(database, 5)
    database.execute("UPDATE dead_letters SET state = 'dead', deaths = 2, collected_at = now() WHERE id = %s", again)
    operator.post(action, **form, which="all", why="all that I see")

    # Then the three are decided, and nothing is about the two that nobody has seen
    assert states(database) == {again: "dead", **dict.fromkeys(shown, state), new: "dead"}
    assert "3 " in operator.read("/dead").split('role="status">')[1].split("<")[0]


def test_all_are_counted_as_what_would_be_decided(operator: Person, database: Database) -> None:
    # Given three letters, one of which is decided already
    decided, *_ = (bury(database, number) for number in (1, 2, 3))
    database.execute("UPDATE dead_letters SET state = 'discarded' WHERE id = %s", decided)

    # When a page shows letters in any state, then "all" are the two that are left
    page = operator.read("/dead?state=any")
    assert "3 of 3." in page
    assert "all 2 that match the filter" in page

    # And where none is left, nothing is offered
    database.execute("UPDATE dead_letters SET state = 'discarded'")
    assert "that match the filter" not in operator.read("/dead?state=any")


def test_all_on_an_older_page_are_the_same(operator: Person, database: Database) -> None:
    # Given more letters than a page shows
    ids = [bury(database, number) for number in range(60)]

    # When all are given up on the second page
    page = f"/dead?before={ids[10]}"
    assert "all 60 that match the filter" in operator.read(page)
    operator.send(page, "/dead/discard", which="all", why="a test")

    # Then it was as many as the page said
    assert set(states(database).values()) == {"discarded"}


@pytest.mark.parametrize("missing", ["up_to", "last_at"])
def test_a_form_that_does_not_say_what_it_has_shown_is_refused(
    operator: Person, database: Database, missing: str
) -> None:
    # Given a form of an older console
    letter = bury(database, 1)
    form = {name: value for name, value in operator.hidden("/dead").items() if name != missing}

    # When all are chosen, then nothing is done
    assert operator.post("/dead/replay", **form, which="all").status_code == 400
    assert states(database) == {letter: "dead"}
    assert database.rows("SELECT count(*) FROM outbox") == [(0,)]


def test_more_than_one_action_takes_are_counted_and_the_limit_is_shown(operator: Person, database: Database) -> None:
    # Given one letter more than one page decides
    bury_nonsense(database, MAX_BULK_ACTION + 1)

    # When the page is read, then it says how many they are, and how many it does at once
    assert "all 5\u202f001 that match the filter, the oldest 5\u202f000 of them at once" in operator.read("/dead")

    # And the preview lists as many as one action would take
    shown = operator.send("/dead", "/dead/preview", which="all").text
    assert "5\u202f000 dead letters match" in shown


def test_a_preview_shows_what_would_happen_and_changes_nothing(operator: Person, database: Database) -> None:
    # Given letters of two queues, and some that are no message
    for number in range(3):
        bury(database, number, queue="videos")
    bury(database, 9)
    bury_nonsense(database, 2)
    before = states(database)

    # When an operator previews what would happen to all
    page = operator.send("/dead", "/dead/preview", which="all", why="S3 is back")

    # Then it is listed by queue, actor and cause, and nothing has happened
    assert page.status_code == 200, page.text
    assert "6 dead letters match" in page.text
    assert groups(page.text) == [
        ("videos", "webhooks.received.v1", "retries", "3"),
        ("webhooks", "–", "undecodable", "2"),
        ("webhooks", "webhooks.received.v1", "retries", "1"),
    ]
    assert "only discarded" in page.text
    assert states(database) == before
    assert database.rows("SELECT count(*) FROM operator_acts") == [(0,)]


def test_after_a_preview_it_is_these_that_are_decided(operator: Person, database: Database) -> None:
    # Given a preview of all letters of one error
    wanted = [bury(database, number, error="StorageAway: S3 is away") for number in (1, 2)]
    other = bury(database, 3)
    shown = operator.send("/dead?error=away", "/dead/preview", which="all", why="S3 is back")
    form = hidden_fields(shown.text)

    # When another one dies, and what was previewed is done
    late = bury(database, 4, error="StorageAway: S3 is away")
    assert 'value="S3 is back"' in shown.text
    operator.post("/dead/replay", **form, why="S3 is back")

    # Then it is what was shown, and the audit has how it was chosen
    assert states(database) == {**dict.fromkeys(wanted, "replayed"), other: "dead", late: "dead"}
    chosen_by: dict[str, Any] = json.loads(database.rows("SELECT chosen_by::text FROM operator_acts")[0][0])
    assert (chosen_by["error"], chosen_by["up_to"]) == ("away", other - 1)


def test_ticked_letters_are_previewed_too(operator: Person, database: Database) -> None:
    # Given three letters, two of them ticked
    first, second, third = (bury(database, number) for number in (1, 2, 3))
    shown = operator.send("/dead", "/dead/preview", which="ticked", id=[first, third])
    assert "2 dead letters match" in shown.text

    # When they are sent again from there
    form = hidden_fields(shown.text)
    operator.post("/dead/replay", **form)

    # Then it is these two
    assert states(database) == {first: "replayed", second: "dead", third: "replayed"}


def test_a_preview_of_nothing_is_refused(operator: Person, database: Database) -> None:
    # Given a letter that is not ticked
    bury(database, 1)

    # When somebody asks what would happen to those that are, then it is said that there are none
    assert operator.send("/dead", "/dead/preview", which="ticked").status_code == 400


def groups(page: str) -> list[tuple[str, ...]]:
    """The first four cells of each row of a preview."""
    return [
        tuple(re.sub("<[^>]+>", "", cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", row)[:4])
        for row in re.findall(r"<tr>(<td.*?)</tr>", page, re.DOTALL)
    ]
