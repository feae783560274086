"""A quarantined event has a way out: accepted, it is booked by a worker as the provider sent it; dismissed, it ends."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from local.psp.signed_webhooks import Payment, signed
from shared.cli import main
from shared.operations.audit_log import list_entries
from shared.runtime.database import build_engine
from tests.waiting import wait_until
from tests.webhook_gateway.processes import SECRETS, Database, RunningGateway, RunningWorker, deliver

REASON = "200 DA less, as agreed by phone"


@pytest.fixture
def database(database_url: str) -> Database:
    return Database(database_url)


@pytest.fixture
def worker(database_url: str, rabbitmq_url: str, tmp_path: Path) -> Iterator[RunningWorker]:
    with RunningWorker(tmp_path / "worker", database_url, rabbitmq_url) as worker:
        yield worker


@pytest.fixture
def gateway(database_url: str, rabbitmq_url: str, tmp_path: Path) -> Iterator[RunningGateway]:
    with RunningGateway(tmp_path / "gateway", database_url, rabbitmq_url) as gateway:
        yield gateway


class School:
    """One student, who has begun a payment of 250,000 centimes, and whose provider reports another amount."""

    def __init__(self, database: Database, gateway: RunningGateway) -> None:
        self._database, self._gateway = database, gateway
        database.execute("INSERT INTO users (id) VALUES (7)")
        database.execute("INSERT INTO subscriptions (id, user_id, amount_minor) VALUES (1, 7, 200000)")
        database.execute(
            "INSERT INTO payments (provider, provider_reference, user_id, amount_minor)"
            " VALUES ('generic', 't-1', 7, %s)",
            250_000,
        )

    def report(self, amount_minor: int, what: str = "paid", **fields: Any) -> int:
        payment = Payment(**{"reference": "t-1", "amount_minor": amount_minor, "user_id": 7, **fields})
        with httpx.Client(base_url=self._gateway.url) as client:
            return int(deliver(client, signed("generic", [SECRETS["generic"]], payment, what)).json()["event_id"])

    def quarantine(self, amount_minor: int = 230_000, **fields: Any) -> int:
        event_id = self.report(amount_minor, **fields)
        wait_until(lambda: self.state(event_id)[0] == "quarantined")
        return event_id

    def state(self, event_id: int) -> tuple[Any, ...]:
        query = "SELECT state, resolution, reason FROM webhook_events WHERE id = %s"
        return tuple(self._database.rows(query, event_id)[0])

    def balance(self) -> int:
        return int(self._database.rows("SELECT balance_minor FROM users WHERE id = 7")[0][0])


@pytest.fixture
def school(database: Database, gateway: RunningGateway) -> School:
    return School(database, gateway)


def nouba(database: Database, *arguments: str, status: int = 0) -> str:
    reported = CliRunner().invoke(main, arguments, env={"NOUBA_DATABASE_URL": database.url, "COLUMNS": "200"})
    assert reported.exit_code == status, reported.output
    return reported.output


def resolve(database: Database, event_id: int, how: str, status: int = 0, *more: str) -> dict[str, Any]:
    arguments = (
        "webhooks",
        "resolve",
        str(event_id),
        how,
        "--reason",
        REASON,
        "--actor-name",
        "amina",
        "--json",
        *more,
    )
    found: dict[str, Any] = json.loads(nouba(database, *arguments, status=status).splitlines()[0])
    return found


def acts(database: Database) -> list[tuple[str, str, str | None]]:
    engine = build_engine(database.url, pool_size=1)
    found = [(one.what, one.who, one.why) for one in list_entries(engine)]
    engine.dispose()
    return found[::-1]


def count_undecided(database: Database) -> int:
    return int(json.loads(nouba(database, "webhooks", "list", "--state", "undecided", "--json"))["count"])


def test_what_is_accepted_is_booked_as_the_provider_reported_it_with_the_registered_amount_corrected(
    database: Database, school: School, worker: RunningWorker
) -> None:
    # Given a payment of which the provider reports another amount than was registered
    event_id = school.quarantine()
    assert school.state(event_id)[2] == "registered 250000 DZD, reported 230000 (minor units)"
    assert count_undecided(database) == 1

    # When an operator accepts it, and once more
    reported = resolve(database, event_id, "--accept")["decided"][0]
    resolve(database, event_id, "--accept")

    # Then the worker has booked it, once, the subscription is paid, the amount is corrected, and the audit knows why
    assert (reported["state"], reported["resolution"]) == ("applied", "accepted")
    assert school.balance() == 30_000
    assert database.rows("SELECT amount_minor, status, credited_minor FROM payments") == [
        (230_000, "completed", 230_000)
    ]
    assert database.rows("SELECT status FROM subscriptions") == [("active",)]
    assert acts(database) == [("webhook.accept", "amina", REASON)]
    assert count_undecided(database) == 0
    assert "webhook.accept" in nouba(database, "webhooks", "show", str(event_id))


def test_a_correction_of_an_amount_that_was_booked_already_moves_the_difference(
    database: Database, school: School, worker: RunningWorker
) -> None:
    # Given a payment that was booked, and the provider's word that it was less
    school.report(250_000)
    wait_until(lambda: school.balance() == 50_000)
    event_id = school.quarantine(240_000)

    # When it is accepted
    resolve(database, event_id, "--accept")

    # Then the difference is gone from the wallet
    assert school.balance() == 40_000


def test_what_is_dismissed_needs_nobodys_attention_and_can_be_taken_back(
    database: Database, school: School, worker: RunningWorker
) -> None:
    event_id = school.quarantine()

    # When it is dismissed, then nothing is booked and nobody has to check it
    assert resolve(database, event_id, "--dismiss")["decided"][0]["resolution"] == "dismissed"
    assert (count_undecided(database), school.balance()) == (0, 0)
    assert "it is dismissed" in nouba(database, "webhooks", "replay", str(event_id), status=1)
    assert "undo that first" in json.dumps(resolve(database, event_id, "--accept", 1)["refused"])

    # When that is taken back, then it waits for a decision again
    resolve(database, event_id, "--undo")
    assert count_undecided(database) == 1
    assert resolve(database, event_id, "--accept")["decided"][0]["state"] == "applied"
    assert [what for what, *_ in acts(database)] == ["webhook.dismiss", "webhook.undo", "webhook.accept"]

    # When it is booked, then nothing is taken back
    assert "nouba payments adjust" in json.dumps(resolve(database, event_id, "--undo", 1)["refused"])


def test_an_acceptance_can_be_taken_back_as_long_as_no_worker_has_booked_it(
    database: Database, school: School, database_url: str, rabbitmq_url: str, tmp_path: Path
) -> None:
    # Given an event that was accepted while no worker runs
    with RunningWorker(tmp_path / "first", database_url, rabbitmq_url):
        event_id = school.quarantine()
    waiting = resolve(database, event_id, "--accept", 0, "--wait", "0")["decided"][0]
    assert (waiting["state"], waiting["resolution"]) == ("received", "accepted")

    # When that is taken back, and workers run again
    resolve(database, event_id, "--undo")
    with RunningWorker(tmp_path / "second", database_url, rabbitmq_url):
        wait_until(lambda: database.counts()["outbox"] == 0)
        school.report(10, what="failed")
        wait_until(lambda: database.rows("SELECT count(*) FROM webhook_events WHERE state = 'received'") == [(0,)])

    # Then it was not booked
    assert school.state(event_id)[:2] == ("quarantined", None)
    assert school.balance() == 0


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"currency": "EUR"}, "cannot be accepted: registered in DZD, reported EUR"),
        ({"user_id": 8}, "cannot be accepted: registered for user 7, reported user 8"),
    ],
)
def test_what_cannot_be_accepted_is_quarantined_again_and_says_why(
    database: Database, school: School, worker: RunningWorker, fields: dict[str, Any], reason: str
) -> None:
    event_id = school.quarantine(250_000, **fields)

    reported = resolve(database, event_id, "--accept", 1)["decided"][0]

    assert (reported["state"], reported["resolution"], reported["reason"]) == ("quarantined", None, reason)
    assert (count_undecided(database), school.balance()) == (1, 0)


def test_a_replay_that_changes_nothing_says_why(database: Database, school: School, worker: RunningWorker) -> None:
    event_id = school.quarantine()

    assert f"{event_id} is quarantined: registered 250000 DZD, reported 230000" in nouba(
        database, "webhooks", "replay", str(event_id)
    )
    resolve(database, event_id, "--accept")
    assert f"{event_id} will not: it is applied: payment 1 is completed" in nouba(
        database, "webhooks", "replay", str(event_id), status=1
    )
    assert "4711 will not: there is no such webhook" in nouba(database, "webhooks", "replay", "4711", status=1)
