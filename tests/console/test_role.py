"""The console's role of the database has the rights for every page and every decision, and no others."""

from pathlib import Path

from local.postgres import Postgres
from tests.console.clients import Person, console_of
from tests.console.factories import bury, open_school
from tests.console.test_lessons import lesson
from tests.roles import apply_roles, url_of_role
from tests.webhook_gateway.processes import Database

PAGES = ("/", "/queues", "/dead", "/webhooks", "/webhooks/12", "/payments", "/payments?words=7", "/payments/1",
         "/wallets/7", "/wallets/7?at=2026-11-02T10:59", "/lessons", "/days", "/audit",
         "/endpoints", "/endpoints/3")  # fmt: skip


def test_the_consoles_role_reads_every_page_and_writes_every_decision(
    own_postgres: Postgres, rabbitmq_url: str, tmp_path: Path
) -> None:
    # Given the roles of the containers, and a console that has its own
    database = Database(own_postgres.url)
    open_school(database)
    letter = bury(database, 1)
    apply_roles(own_postgres, tmp_path)
    person = Person(console_of(url_of_role(own_postgres.url, "nouba_console"), rabbitmq_url))
    person.enter()

    # Then every page is there
    for path in PAGES:
        person.read(path)
    assert person.send("/payments", "/payments/search", words="amina@school.example").location == "/wallets/7"

    # And every decision is made
    actions = (("accept", "accepted"), ("undo", None), ("dismiss", "dismissed"), ("undo", None))
    for decision, resolution in actions:
        person.send("/webhooks/12", "/webhooks/12/resolve", decision=decision, why="a test")
        assert database.rows("SELECT resolution FROM webhook_events WHERE id = 12") == [(resolution,)]
    person.send("/webhooks/12", "/webhooks/12/replay", why="a test")
    assert database.rows("SELECT state FROM webhook_events WHERE id = 12") == [("received",)]
    person.send("/payments/1", "/payments/1/refund", amount="500.00", why="a test", confirmed="yes")
    assert database.rows("SELECT amount_minor FROM refund_requests") == [(50_000,)]
    for what, enabled in (("disable", False), ("enable", True)):
        person.send("/endpoints/3", "/endpoints/3/switch", what=what, why="a test")
        assert database.rows("SELECT enabled FROM webhook_endpoints") == [(enabled,)]
    person.send("/endpoints/3", "/endpoints/3/replay", since="1d", which="all", why="a test")
    assert database.rows("SELECT DISTINCT state FROM webhook_deliveries") == [("pending",)]
    job = lesson(database, "completed")
    person.send(f"/lessons/{job}", f"/lessons/{job}/ask", what="delete", why="a test", confirmed="yes")
    assert database.rows("SELECT requested FROM transcode_jobs WHERE id = %s", job) == [("delete",)]
    person.send("/dead", "/dead/discard", which="ticked", id=letter, why="a test")
    assert database.rows("SELECT state FROM dead_letters") == [("discarded",)]
