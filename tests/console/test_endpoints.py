"""The pages of endpoints: how each stands, every attempt, and what an operator decides with a reason."""

import pytest

from tests.console.clients import VIEWER, Person
from tests.console.factories import acts, open_school
from tests.webhook_gateway.processes import Database


@pytest.fixture(autouse=True)
def _school(database: Database) -> None:
    open_school(database)


def test_the_list_says_how_each_endpoint_stands_and_shows_no_secret(database: Database, operator: Person) -> None:
    database.execute(
        "INSERT INTO webhook_endpoints (url, secret, event_types, enabled, disabled_because, disabled_at) VALUES"
        " ('https://gone.example/', 'whsec_gone', '{lesson.ready}', false, 'gone', now()),"
        " ('https://good.example/', 'whsec_good', '{}', true, NULL, NULL)"
    )

    page = operator.read("/endpoints")

    assert [page.count(f">{state}</b>") for state in ("failing", "disabled", "healthy")] == [1, 1, 1]
    assert "it answered 410" in page
    assert "lesson.ready" in page
    assert "whsec_" not in page
    assert "whsec_" not in operator.read("/endpoints/3")


def test_the_page_of_one_shows_each_delivery_with_its_attempts(operator: Person) -> None:
    page = operator.read("/endpoints/3")
    assert page.count("The connection was refused., 3 ms") == 3
    assert page.count("204, 12 ms") == 3
    assert "payment.refunded" in page

    failed = operator.read("/endpoints/3?state=failed")
    assert "payment.refunded" in failed
    assert "payment.completed" not in failed
    assert operator.get("/endpoints/99").status_code == 404


def test_an_operator_disables_and_enables_with_a_reason(database: Database, operator: Person) -> None:
    def endpoint_state() -> tuple[object, ...]:
        return database.rows("SELECT enabled, disabled_because, failures FROM webhook_endpoints")[0]

    # without a reason nothing happens
    assert operator.send("/endpoints/3", "/endpoints/3/switch", what="disable", why=" ").status_code == 400
    assert endpoint_state() == (True, None, 2)

    operator.send("/endpoints/3", "/endpoints/3/switch", what="disable", why="it is moved")
    assert endpoint_state() == (False, "operator", 2)
    operator.send("/endpoints/3", "/endpoints/3/switch", what="enable", why="it is back")
    assert endpoint_state() == (True, None, 0)
    assert "it is already" not in operator.read("/endpoints/3")
    assert [act[1:3] for act in acts(database)] == [
        ("endpoints.change", "it is moved"),
        ("endpoints.change", "it is back"),
    ]


def test_a_replay_sends_what_was_given_up_or_all(database: Database, operator: Person) -> None:
    def states() -> dict[str, int]:
        return dict(database.rows("SELECT state, count(*) FROM webhook_deliveries GROUP BY state"))

    path = "/endpoints/3/replay"
    assert operator.send("/endpoints/3", path, since="ever", which="all", why="a test").status_code == 400
    assert operator.send("/endpoints/3", path, since="1d", which="all", why="").status_code == 400
    assert states() == {"pending": 1, "delivered": 1, "failed": 1}

    operator.send("/endpoints/3", path, since="1d", which="failed", why="the program is mended")
    assert "1 event is sent again" in operator.read("/endpoints/3")
    assert states() == {"pending": 2, "delivered": 1}
    operator.send("/endpoints/3", path, since="1d", which="all", why="the program lost its database")
    assert states() == {"pending": 3}
    assert [act[1] for act in acts(database)] == ["endpoints.replay", "endpoints.replay"]


def test_what_waits_for_its_next_attempt_is_sent_now(database: Database, operator: Person) -> None:
    database.execute(
        "UPDATE webhook_deliveries SET due_at = now() + interval '5 minutes' WHERE state = 'pending';"
        "UPDATE webhook_endpoints SET held_until_at = now() + interval '5 minutes'"
    )

    # with what was given up; a second replay finds neither
    for found in ("2 events are sent again", "0 events are sent again"):
        operator.send("/endpoints/3", "/endpoints/3/replay", since="1d", which="failed", why="the program is back")
        assert found in operator.read("/endpoints/3")

    assert database.rows("SELECT count(*) FROM webhook_deliveries WHERE state = 'pending' AND due_at <= now()") == [
        (2,)
    ]
    assert database.rows("SELECT held_until_at FROM webhook_endpoints WHERE id = 3") == [(None,)]


def test_one_event_is_replayed(database: Database, operator: Person) -> None:
    ((number,),) = database.rows("SELECT event_id FROM webhook_deliveries WHERE state = 'delivered'")
    form = {"since": "1d", "which": "all", "why": "the program lost it"}
    path = "/endpoints/3/replay"

    assert operator.send("/endpoints/3", path, event="the first", **form).status_code == 400
    operator.send("/endpoints/3", path, event=f"evt_{number}", **form)

    assert "1 event is sent again" in operator.read("/endpoints/3")
    rows = database.rows("SELECT state FROM webhook_deliveries WHERE event_id = %s", number)
    assert rows == [("pending",)]


def test_a_viewer_reads_and_decides_nothing(database: Database, operator: Person) -> None:
    viewer = Person(operator.app)
    viewer.enter(VIEWER)
    page = viewer.read("/endpoints/3")
    assert "<button>Replay" not in page
    for path, form in (("switch", {"what": "disable"}), ("replay", {"since": "1d", "which": "all"})):
        answer = viewer.send("/endpoints", f"/endpoints/3/{path}", why="a test", **form)
        assert answer.status_code == 403
    assert database.rows("SELECT count(*) FROM webhook_deliveries WHERE state = 'pending'") == [(1,)]
    assert acts(database) == []
