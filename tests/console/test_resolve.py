"""A quarantined webhook is accepted or dismissed on its page, with a reason that the audit keeps, and taken back."""

import pytest

from tests.console.clients import VIEWER, WHO, Person, console_of
from tests.console.factories import acts, keep_event, open_school
from tests.webhook_gateway.processes import Database

REASON = "registered 250000 DZD, reported 230000 (minor units)"


def decide(person: Person, event: int, decision: str, why: str = "as agreed by phone") -> int:
    page = f"/webhooks/{event}"
    return person.send(page, f"{page}/resolve", decision=decision, why=why).status_code


def decision_of(database: Database, event: int) -> tuple[object, ...]:
    return database.rows("SELECT state, resolution FROM webhook_events WHERE id = %s", event)[0]


def test_what_is_accepted_is_enqueued_once_and_audited(operator: Person, database: Database) -> None:
    event = keep_event(database, "quarantined", REASON)
    assert "1" in operator.read("/webhooks?state=undecided")

    # When it is accepted, twice
    decide(operator, event, "accept")
    assert "Accepted, and enqueued for settlement." in operator.read(f"/webhooks/{event}")
    decide(operator, event, "accept")

    # Then its message is enqueued once, nobody has to check it any more, and the audit has the reason
    assert decision_of(database, event) == ("received", "accepted")
    assert database.rows("SELECT message #>> '{kwargs,event_id}' FROM outbox") == [(str(event),)]
    assert acts(database) == [(WHO, "webhook.accept", "as agreed by phone", [event])]
    assert f'href="/webhooks/{event}"' not in operator.read("/webhooks?state=undecided")
    page = operator.read(f"/webhooks/{event}")
    assert f"{WHO}: as agreed by phone" in page


def test_what_is_dismissed_is_closed_and_not_booked(operator: Person, database: Database) -> None:
    event = keep_event(database, "quarantined", REASON)

    decide(operator, event, "dismiss")

    assert decision_of(database, event) == ("quarantined", "dismissed")
    assert database.rows("SELECT count(*) FROM outbox") == [(0,)]
    assert acts(database) == [(WHO, "webhook.dismiss", "as agreed by phone", [event])]
    assert "Book it again" not in operator.read(f"/webhooks/{event}")


@pytest.mark.parametrize("decision", ["accept", "dismiss"])
def test_a_decision_is_taken_back_until_it_is_booked(operator: Person, database: Database, decision: str) -> None:
    # Given a decision
    event = keep_event(database, "quarantined", REASON)
    decide(operator, event, decision)

    # When it is taken back, then the event waits for another one
    decide(operator, event, "undo", "the wrong student")
    assert decision_of(database, event) == ("quarantined", None)
    assert [(what, why) for _, what, why, _ in acts(database)] == [
        (f"webhook.{decision}", "as agreed by phone"),
        ("webhook.undo", "the wrong student"),
    ]

    # When it is accepted and booked meanwhile, then it is not taken back, and the page offers nothing
    decide(operator, event, "accept")
    database.execute("UPDATE webhook_events SET state = 'applied', processed_at = now() WHERE id = %s", event)
    operator.post(f"/webhooks/{event}/resolve", **operator.hidden("/webhooks"), decision="undo", why="too late")
    page = operator.read(f"/webhooks/{event}")
    assert "Nothing was changed: webhook" in page
    assert "Undo the decision" not in page
    assert decision_of(database, event) == ("applied", "accepted")


@pytest.mark.parametrize(("decision", "why"), [("accept", ""), ("dismiss", "  "), ("forget", "x"), ("", "x")])
def test_without_a_reason_or_a_decision_nothing_is_changed(
    operator: Person, database: Database, decision: str, why: str
) -> None:
    event = keep_event(database, "quarantined", REASON)

    assert decide(operator, event, decision, why) == 400

    assert decision_of(database, event) == ("quarantined", None)
    assert acts(database) == database.rows("SELECT id FROM outbox") == []


@pytest.mark.parametrize(
    ("state", "reason", "word"),
    [("applied", "payment 1 is completed", "only what is quarantined or dead is decided"),
     ("received", None, "only what is quarantined or dead is decided"),
     ("quarantined", "signed with a test key, but says it is live", "a test must not move money")],
)  # fmt: skip
def test_what_cannot_be_accepted_says_why(
    operator: Person, database: Database, state: str, reason: str | None, word: str
) -> None:
    event = keep_event(database, state, reason)

    operator.post(f"/webhooks/{event}/resolve", **operator.hidden("/webhooks"), decision="accept", why="x")

    assert word in operator.read(f"/webhooks/{event}")
    assert decision_of(database, event) == (state, None)
    assert acts(database) == []


def test_a_viewer_decides_nothing(database_url: str, rabbitmq_url: str, database: Database) -> None:
    event = keep_event(database, "quarantined", REASON)
    viewer = Person(console_of(database_url, rabbitmq_url))
    viewer.enter(VIEWER)

    assert 'name="decision"' not in viewer.read(f"/webhooks/{event}")
    for decision in ("accept", "dismiss", "undo"):
        assert decide(viewer, event, decision) == 403
    assert decision_of(database, event) == ("quarantined", None)


def test_a_form_of_another_site_decides_nothing(operator: Person, database: Database) -> None:
    event = keep_event(database, "quarantined", REASON)
    operator.read(f"/webhooks/{event}")

    assert operator.post(f"/webhooks/{event}/resolve", decision="accept", why="x").status_code == 400
    assert decision_of(database, event) == ("quarantined", None)


def test_a_payment_stops_waiting_for_a_person_once_its_event_is_dismissed(operator: Person, database: Database) -> None:
    open_school(database)
    assert "nobody has decided" in operator.read("/payments/2")

    decide(operator, 12, "dismiss")

    assert "nobody has decided" not in operator.read("/payments/2")
