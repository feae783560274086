"""What the console shows: all the rows, page by page, as text, and a word for what is not there."""

from urllib.parse import quote

import pytest

from tests.console.clients import Person, console_of
from tests.console.factories import bury, finish_lesson, keep_event
from tests.webhook_gateway.processes import Database

#: Larger than the largest number of a row.
TOO_LARGE = 2**63


def test_pages_lead_to_older_rows(operator: Person, database: Database) -> None:
    # Given more letters than a page shows
    ids = [bury(database, number) for number in range(60)]

    # When the first page is read, and the one that it leads to
    first = operator.read("/dead")
    older = operator.read(f"/dead?before={ids[10]}")

    # Then together they show all, and each once
    assert f"before={ids[10]}" in first
    shown = [[one for one in ids if f'href="/dead/{one}"' in page] for page in (first, older)]
    assert shown == [ids[10:], ids[:10]]


def test_what_a_stranger_wrote_is_text_and_no_page(operator: Person, database: Database) -> None:
    # Given an error and a reason with markup in them
    bury(database, 1, error="<script>alert(1)</script>")
    keep_event(database, "quarantined", "<img src=x onerror=alert(1)>")

    # When their pages are read, then it is text
    assert "<script>alert(1)" not in operator.read("/dead")
    assert "<img src=x" not in operator.read("/webhooks")


@pytest.mark.parametrize("path", ["/dead/999", "/webhooks/999", "/nothing"])
def test_what_is_not_there_is_a_page_that_says_so(operator: Person, path: str) -> None:
    answer = operator.get(path)

    assert answer.status_code == 404
    assert "To the overview" in answer.text


@pytest.mark.parametrize("path", [f"/dead/{TOO_LARGE}", f"/webhooks/{TOO_LARGE}"])
def test_a_number_that_no_row_can_have_is_not_searched_for(rabbitmq_url: str, path: str) -> None:
    # Given a database that is away
    person = Person(console_of("postgresql://nobody@127.0.0.1:1/nothing", rabbitmq_url))
    person.enter()

    # When a row is asked for that cannot be, then the answer needs no database
    assert person.get(path).status_code == 404


@pytest.mark.parametrize("path", [f"/dead/{TOO_LARGE}", f"/webhooks/{TOO_LARGE}", f"/dead/{10**40}"])
def test_a_number_that_no_row_can_have_is_not_there(operator: Person, path: str) -> None:
    assert operator.get(path).status_code == 404


@pytest.mark.parametrize("path", [f"/dead?before={TOO_LARGE}", f"/webhooks?before={TOO_LARGE}", "/dead?before=one"])
def test_a_page_before_a_number_that_no_row_can_have_is_the_first(
    operator: Person, database: Database, path: str
) -> None:
    # Given a letter and a webhook
    bury(database, 1)
    keep_event(database, "received")

    # When the page before that number is asked for, then they are on it
    assert "1 of 1." in operator.read(path)


@pytest.mark.parametrize("cause", ["retries", "undecodable"])
def test_letters_are_found_by_their_cause(operator: Person, database: Database, cause: str) -> None:
    # Given two letters of different causes
    found, other = bury(database, 1), bury(database, 2)
    database.execute("UPDATE dead_letters SET cause = %s WHERE id = %s", cause, found)
    database.execute("UPDATE dead_letters SET cause = 'delivery_limit' WHERE id = %s", other)

    # When the form that the page offers for it is filled in
    assert 'name="cause"' in operator.read("/dead")
    page = operator.read(f"/dead?cause={cause}")

    # Then it is the one, and the form still says by what
    assert f'href="/dead/{found}"' in page
    assert f'href="/dead/{other}"' not in page
    assert f'name="cause" list="causes" value="{cause}"' in page


def test_a_lesson_says_what_it_lacks(operator: Person, database: Database) -> None:
    # Given a completed lesson that is damaged, and one that is whole
    finish_lesson(database, [{"code": "damaged_picture", "text": "The picture is damaged at 0:09 & 0:12."}])
    finish_lesson(database, None)

    # When the page of the lessons is read, then the warning stands there once
    page = operator.read("/lessons")
    assert page.count("The picture is damaged at 0:09 &amp; 0:12.") == 1


@pytest.mark.parametrize("at", ["0001-01-01T00:00+23:59", "0001-01-01T00:00+14:00", "9999-12-31T23:59-23:59"])
def test_an_instant_that_the_database_cannot_hold_is_the_askers_fault(
    operator: Person, database: Database, at: str
) -> None:
    database.execute("INSERT INTO users (id, name) VALUES (1, 'a') ON CONFLICT DO NOTHING")

    answer = operator.get(f"/wallets/1?at={quote(at)}")

    assert answer.status_code in (200, 400)
    assert "database is unavailable" not in answer.text


def test_a_day_shows_when_it_was_computed_and_when_verified_and_what_differed(
    operator: Person, database: Database
) -> None:
    # Given a day that was computed again after its verification, which found two other numbers
    database.execute(
        "INSERT INTO daily_stats_newest (day, version, failed, checked_at, verified_at, differences) VALUES"
        " ('2026-11-01', NULL, false, '2026-11-03 09:30+01', '2026-11-02 03:15+01', 2)"
    )

    page = operator.read("/days")

    headings = [page.index(text) for text in ("Version computed at", "Last computed", "Last verified")]
    values = [page.index(text) for text in ("2026-11-03 09:30", "2026-11-02 03:15", "2 numbers differ")]
    assert [*headings, *values] == sorted([*headings, *values])


def test_a_webhook_that_was_booked_at_once_was_not_postponed(operator: Person, database: Database) -> None:
    event = keep_event(database, "received", "no order CMD7")
    assert "Times postponed" not in operator.read(f"/webhooks/{event}")

    database.execute("UPDATE webhook_events SET attempts = 2, next_attempt_at = now() + interval '1 hour'")

    page = operator.read(f"/webhooks/{event}")
    assert all(text in page for text in ("Times postponed", "Next attempt", "Why this state"))
