"""Endpoints by the API and the command line: what is asked for, what is refused, and what is never shown."""

import json
import re
from collections.abc import Iterator
from subprocess import CompletedProcess

import httpx
import pytest
from sqlalchemy.exc import IntegrityError

from services.webhook_gateway.events_out.settings import EventsSettings
from shared.contracts.event_types import EVENT_TYPES
from shared.operations.webhook_endpoints.endpoints import Endpoints
from shared.runtime.database import build_engine
from tests.command_line import nouba
from tests.webhook_gateway.events_out.processes import record
from tests.webhook_gateway.processes import Database, RunningGateway

TOKENS = {scope: f"token-that-opens-{scope}" for scope in ("read", "payments", "uploads", "operate")}
PATH = "/api/v1/webhook-endpoints"


@pytest.fixture(scope="module")
def gateway(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    tokens = ",".join(f"{scope}:{scope}:{token}" for scope, token in TOKENS.items())
    settings = {"NOUBA_API_TOKENS": tokens, "NOUBA_GATEWAY_PROCESSES": "1"}
    with RunningGateway(tmp_path_factory.mktemp("gateway") / "log", database.url, **settings) as running:
        yield running
        assert "Traceback" not in running.log
        assert "whsec_" not in running.log.replace("whsec_Z2F0", "")


@pytest.fixture
def client(gateway: RunningGateway) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=gateway.url, headers={"Authorization": f"Bearer {TOKENS['operate']}"}) as client:
        yield client


def read(client: httpx.Client, path: str) -> httpx.Response:
    return client.get(path, headers={"Authorization": f"Bearer {TOKENS['read']}"})


def test_an_endpoint_is_added_changed_rotated_tested_and_removed(client: httpx.Client, database: Database) -> None:
    made = client.post(PATH, json={"url": "https://school.example/nouba", "event_types": ["lesson.ready"]})
    assert made.status_code == 201, made.text
    secret, number = made.json()["secret"], made.json()["id"]
    assert secret.startswith("whsec_")
    assert read(client, PATH).json()["endpoints"] == [read(client, f"{PATH}/{number}").json()]
    assert secret not in read(client, PATH).text

    changed = client.patch(f"{PATH}/{number}", json={"enabled": False, "ordered": True})
    assert (changed.json()["disabled_because"], changed.json()["ordered"]) == ("operator", True)
    assert changed.json()["event_types"] == ["lesson.ready"]
    assert client.post(f"{PATH}/{number}/test").status_code == 400
    assert client.patch(f"{PATH}/{number}", json={"enabled": True}).json()["enabled"] is True

    rotated = client.post(f"{PATH}/{number}/secret", headers={"Idempotency-Key": "rotate-1"}).json()
    assert rotated["secret"] != secret
    assert client.post(f"{PATH}/{number}/secret", headers={"Idempotency-Key": "rotate-1"}).json() == rotated
    assert rotated["previous_until_at"] is not None

    event_id = client.post(f"{PATH}/{number}/test").json()["event_id"]
    page = read(client, f"{PATH}/{number}/deliveries?state=pending&limit=1").json()
    assert [one["event_id"] for one in page["deliveries"]] == [event_id]
    assert page["next_cursor"] is None
    cursor = page["deliveries"][0]["id"]
    assert read(client, f"{PATH}/{number}/deliveries?cursor={cursor}").json()["deliveries"] == []

    record(database, 1, kind="lesson.ready")
    database.execute("UPDATE events SET fanned_out_at = now()")
    answer = client.post(f"{PATH}/{number}/replay", json={"since": "2026-01-01T00:00:00Z"})
    assert (answer.status_code, answer.json()) == (202, {"events": 1, "next_after": None})

    # what waits for its next attempt is sent now, and not twice
    database.execute("UPDATE webhook_deliveries SET attempts = 2, due_at = now() + interval '5 minutes'")
    replays = [client.post(f"{PATH}/{number}/replay", json={"only_failed": True}).json()["events"] for _ in range(2)]
    assert replays == [1, 0]
    # one event alone, whatever its type
    replay = {"event_id": event_id}
    assert client.post(f"{PATH}/{number}/replay", json=replay | {"only_failed": True}).json()["events"] == 1
    assert client.post(f"{PATH}/{number}/replay", json={"event_id": "4711"}).status_code == 400

    assert client.delete(f"{PATH}/{number}").status_code == 204
    assert read(client, f"{PATH}/{number}").status_code == 404
    acts = [what for (what,) in database.rows("SELECT what FROM operator_acts WHERE who = 'operate' ORDER BY id")]
    assert acts == [
        f"endpoints.{what}" for what in ("add", "change", "change", "rotate", "ping", *["replay"] * 4, "remove")
    ]


@pytest.mark.parametrize(
    "url",
    [
        "http://school.example/",
        "ftp://school.example/",
        "school.example",
        "https://",
        "https://user:password@school.example/",
        "https://school.example/#a",
        "https://school.example/a b",
        "https://school.example/\r\nX-Injected: 1",
        "https://école.example/",
        "https://school.example:99999/",
        "https://127.0.0.1/",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://localhost/",
        "https://10.0.0.1/",
        "https://192.168.1.1/",
        "https://172.16.0.1/",
        "https://169.254.169.254/latest/meta-data",
        "https://100.64.0.1/",
        "https://0.0.0.0/",
        "https://224.0.0.1/",
        "https://[::1]/",
        "https://[::]/",
        "https://[fe80::1]/",
        "https://[fd00::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[64:ff9b::7f00:1]/",
        "https://[2002:7f00:1::]/",
        f"https://school.example/{'a' * 2048}",
    ],
)
def test_an_address_that_is_private_or_none_is_refused(client: httpx.Client, database: Database, url: str) -> None:
    answer = client.post(PATH, json={"url": url, "event_types": ["lesson.ready"]})
    assert answer.status_code == 400, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert database.rows("SELECT FROM webhook_endpoints") == []


@pytest.mark.parametrize(
    "body",
    [
        {"url": "https://school.example/", "event_types": ["payment.paid"]},
        {"url": "https://school.example/"},
        {"event_types": []},
        {"url": "https://school.example/", "event_types": "lesson.ready"},
        {"url": "https://school.example/", "event_types": [], "secret": "whsec_mine"},
        {"url": "https://school.example/", "event_types": [], "description": "a\0b"},
        {"url": "https://school.example/", "event_types": [], "ordered": "yes"},
        [],
    ],
)
def test_a_form_that_is_not_documented_is_refused(client: httpx.Client, body: object) -> None:
    assert client.post(PATH, json=body).status_code == 400


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", PATH, "read"),
        ("GET", f"{PATH}/7", "read"),
        ("GET", f"{PATH}/7/deliveries", "read"),
        ("POST", PATH, "operate"),
        ("PATCH", f"{PATH}/7", "operate"),
        ("DELETE", f"{PATH}/7", "operate"),
        ("POST", f"{PATH}/7/secret", "operate"),
        ("POST", f"{PATH}/7/test", "operate"),
        ("POST", f"{PATH}/7/replay", "operate"),
    ],
)
def test_a_route_opens_for_its_scope_alone(gateway: RunningGateway, method: str, path: str, scope: str) -> None:
    assert httpx.request(method, gateway.url + path, json={}).status_code == 401
    for name, token in TOKENS.items():
        answer = httpx.request(method, gateway.url + path, headers={"Authorization": f"Bearer {token}"}, json={})
        assert (answer.status_code == 403) == (name != scope), answer.text


def test_the_command_line_does_the_same(database: Database) -> None:
    def run(*arguments: str) -> dict[str, object]:
        settings = {"NOUBA_DATABASE_URL": database.url, "NOUBA_EVENTS_ALLOW_PRIVATE": "true"}
        reported = nouba("endpoints", *arguments, **settings)
        assert reported.returncode == 0, reported.stderr
        return dict(json.loads(reported.stdout)) if "--json" in arguments else {"text": reported.stdout}

    made = run("add", "http://127.0.0.1:9/", "--type", "lesson.ready", "--json")
    number = str(made["id"])
    assert str(run("rotate", number, "--json")["secret"]) != made["secret"]
    assert run("ping", number, "--wait", "0", "--json")["state"] == "pending"
    assert len(run("deliveries", number, "--json")["deliveries"]) == 1  # type: ignore[arg-type]
    run("disable", number)
    assert "disabled (operator)" in str(run("list")["text"])
    run("enable", number)
    assert run("replay", number, "--since", "1d", "--json") == {"events": 0}
    run("remove", number)
    assert run("list", "--json") == {"endpoints": []}
    assert run("types", "--json") == {"types": list(EVENT_TYPES)}


def test_the_command_prints_the_secret_alone_and_says_what_a_replay_leaves(database: Database) -> None:
    def run(*arguments: str, status: int = 0) -> "CompletedProcess[str]":
        settings = {"NOUBA_DATABASE_URL": database.url, "NOUBA_EVENTS_ALLOW_PRIVATE": "true"}
        done = nouba("endpoints", *arguments, **settings)
        assert done.returncode == status, done.stderr
        return done

    # SECRET=$(nouba endpoints add ...) holds the secret, and nothing else
    made = run("add", "http://127.0.0.1:9/", "--type", "lesson.ready")
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/=]+\n", made.stdout)
    endpoint_id = made.stderr.split()[1].rstrip(".")
    assert "not shown again" in made.stderr
    assert "retried by themselves" not in run("replay", endpoint_id).stderr

    # a delivery that waits for its retry is not sent again; the command says so
    assert "shows its answer" in run("ping", endpoint_id, "--wait", "0").stdout
    assert "1 deliveries are pending" in run("replay", endpoint_id).stderr

    # unless it waits for long after a failure
    record(database, 1, kind="lesson.ready")
    database.execute("UPDATE events SET fanned_out_at = now()")
    assert run("replay", endpoint_id).stdout == "0 events are sent again.\n"
    run("replay", endpoint_id, "--all", "--since", "1d")
    database.execute("UPDATE webhook_deliveries SET attempts = 2, due_at = now() + interval '5 minutes'")
    event_id = json.loads(run("deliveries", endpoint_id, "--json").stdout)["deliveries"][0]["event_id"]
    assert run("replay", endpoint_id, "--event", event_id).stdout == "1 events are sent again.\n"
    assert run("replay", endpoint_id).stdout == "0 events are sent again.\n"

    # an event that does not exist, or exists no longer, is refused
    refused = run("replay", endpoint_id, "--event", "evt_987654321", status=1)
    assert "There is no event evt_987654321." in refused.stderr
    run("remove", endpoint_id)


def test_private_addresses_are_refused_by_default() -> None:
    assert EventsSettings.model_fields["events_allow_private"].default is False


def test_an_act_that_the_audit_log_refuses_is_not_done(database: Database) -> None:
    # Given an engine that commits each statement, as the gateway's
    engine = build_engine(database.url, autocommit=True)
    endpoints = Endpoints(engine, allow_private=True)
    before = endpoints.find_all()
    database.execute("ALTER TABLE operator_acts ADD CONSTRAINT refuses CHECK (what <> 'endpoints.add') NOT VALID")
    try:
        with pytest.raises(IntegrityError):
            endpoints.add("http://127.0.0.1:9/", [], None, ordered=False, who="amina")
    finally:
        database.execute("ALTER TABLE operator_acts DROP CONSTRAINT refuses")

    assert endpoints.find_all() == before
    engine.dispose()
