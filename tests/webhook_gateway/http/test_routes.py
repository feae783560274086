"""Every row of the interface table, asked of a real server: status, headers, JSON, and what was kept."""

import gzip
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from local.postgres import Postgres
from local.psp.signed_webhooks import Payment, checksum, signed
from tests.webhook_gateway.processes import Database, RunningGateway, deliver, new_database, paid

KEY = "bank-callback-key"


@pytest.fixture(scope="module")
def database(migrated_server: Postgres) -> Iterator[Database]:
    with new_database(migrated_server) as database:
        yield database


@pytest.fixture(scope="module")
def gateway(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    log: Path = tmp_path_factory.mktemp("gateway") / "log"
    callbacks = {"NOUBA_PSP_SATIM_CHECKSUM_MODE": "hmac_sha256", "NOUBA_PSP_SATIM_CHECKSUM_KEYS": KEY}
    gateway = RunningGateway(log, database.url, **callbacks)
    yield gateway
    gateway.kill()
    assert "Traceback" not in gateway.log
    assert " at=" not in gateway.log


@pytest.fixture
def client(gateway: RunningGateway) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=gateway.url) as client:
        yield client


def assert_problem(answer: httpx.Response, status: int, code: str) -> None:
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json()["error"] == code
    assert set(answer.json()) == {"error", "message"}


def test_news_are_answered_200_once_they_are_kept(client: httpx.Client, database: Database) -> None:
    news = paid()

    first, again = deliver(client, news), deliver(client, news)

    assert first.status_code == again.status_code == 200
    event_id = first.json()["event_id"]
    assert first.json() == {"status": "accepted", "event_id": event_id}
    assert again.json() == {"status": "duplicate", "event_id": event_id}
    assert database.rows("SELECT state, body FROM webhook_events WHERE id = %s", event_id) == [("received", news.body)]


@pytest.mark.parametrize("provider", ["chargily", "standard_webhooks", "stripe", "generic"])
def test_every_signed_provider_is_taken_at_its_own_address(client: httpx.Client, provider: str) -> None:
    answer = deliver(client, paid(provider))

    assert (answer.status_code, answer.json()["status"]) == (200, "accepted")


@pytest.mark.parametrize("provider", ["chargily", "standard_webhooks", "stripe", "generic"])
def test_the_address_of_existing_school_back_ends_answers_202(client: httpx.Client, provider: str) -> None:
    news = paid(provider)
    news = replace(news, path="/api/payments/webhook", headers={**news.headers, "X-PSP-Provider": provider})

    assert [deliver(client, news).status_code for _ in range(2)] == [202, 202]
    assert deliver(client, replace(news, path=f"/webhooks/{provider}")).json()["status"] == "duplicate"


@pytest.mark.parametrize("named", [{}, {"X-PSP-Provider": ""}, {"X-PSP-Provider": "nobody"}])
def test_without_a_provider_that_address_answers_404(
    client: httpx.Client, database: Database, named: dict[str, str]
) -> None:
    with database.unchanged():
        assert_problem(client.post("/api/payments/webhook", headers=named, content=b"{}"), 404, "unknown_provider")


@pytest.mark.parametrize("name", ["satim", "cib"])
def test_a_payer_who_comes_back_from_the_bank_is_sent_on_to_the_school(client: httpx.Client, name: str) -> None:
    answer = client.get(f"/webhooks/{name}", params={"orderId": f"browser-{name}"})

    assert answer.status_code == 303
    assert answer.headers["Location"] == f"https://school.example/paid?orderId=browser-{name}"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_callback_of_the_bank_is_answered_in_json(client: httpx.Client, database: Database, method: str) -> None:
    parameters = {"mdOrder": f"callback-{method}", "operation": "deposited", "status": "1"}
    parameters["checksum"] = checksum(KEY, parameters)

    if method == "GET":
        answer = client.get("/webhooks/satim", params=parameters)
    else:
        answer = client.post("/webhooks/satim", data=parameters)

    assert (answer.status_code, answer.json()["status"]) == (200, "accepted")
    kept = database.rows("SELECT reference, signed FROM webhook_events WHERE id = %s", answer.json()["event_id"])
    assert kept == [(f"callback-{method}", True)]


@pytest.mark.parametrize("query", ["", "?orderId=", "?orderId=a&orderId=b", "?orderId=%27%3B--", "?x=1"])
def test_a_hint_that_names_no_order_is_refused(client: httpx.Client, database: Database, query: str) -> None:
    with database.unchanged():
        assert_problem(client.get(f"/webhooks/satim{query}"), 401, "invalid_signature")


def test_an_unknown_provider_is_answered_404(client: httpx.Client, database: Database) -> None:
    with database.unchanged():
        assert_problem(client.post("/webhooks/nobody", content=b"{}"), 404, "unknown_provider")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/webhooks/generic", {"POST"}),
        ("HEAD", "/webhooks/generic", {"POST"}),
        ("PUT", "/webhooks/generic", {"POST"}),
        ("OPTIONS", "/webhooks/generic", {"POST"}),
        ("HEAD", "/webhooks/satim?orderId=head", {"GET", "POST"}),
        ("DELETE", "/webhooks/satim?orderId=delete", {"GET", "POST"}),
        ("GET", "/api/payments/webhook", {"POST"}),
        ("POST", "/healthz", {"GET"}),
        ("BREW", "/healthz", {"GET"}),
    ],
)
def test_another_method_is_answered_405_with_those_that_are_allowed(
    client: httpx.Client, database: Database, method: str, path: str, allowed: set[str]
) -> None:
    with database.unchanged():
        answer = client.request(method, path)

    assert answer.status_code == 405
    assert allowed <= set(answer.headers["Allow"].split(", "))
    if method != "HEAD":
        assert_problem(answer, 405, "method_not_allowed")


@pytest.mark.parametrize("path", ["/", "/webhooks", "/webhooks/", "//webhooks/generic", "/webhooks/a/b", "/%00", "/é"])
def test_an_address_that_is_none_is_answered_404_in_json(client: httpx.Client, path: str) -> None:
    answer = client.post(path, content=b"{}")

    assert answer.status_code in (404, 405)
    assert set(answer.json()) == {"error", "message"}


@pytest.mark.parametrize("encoding", ["gzip", "br", "GZIP", "identity, gzip"])
def test_a_compressed_body_is_answered_415(client: httpx.Client, database: Database, encoding: str) -> None:
    news = paid()
    news = replace(news, body=gzip.compress(news.body), headers={**news.headers, "Content-Encoding": encoding})

    with database.unchanged():
        assert_problem(deliver(client, news), 415, "encoded_body")


def test_a_body_that_says_it_is_not_compressed_is_taken(client: httpx.Client) -> None:
    news = paid()

    answer = deliver(client, replace(news, headers={**news.headers, "Content-Encoding": "Identity"}))

    assert answer.status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/openapi.json", "/docs", "/docs/reference.css"])
def test_pages_answer_get_and_head_alike(client: httpx.Client, path: str) -> None:
    got, asked = client.get(path), client.head(path)

    assert got.status_code == asked.status_code == 200
    assert asked.content == b""
    assert got.headers["Content-Type"] == asked.headers["Content-Type"]


def test_a_hint_nobody_signed_is_kept_as_such(client: httpx.Client, database: Database) -> None:
    hint = signed("satim", [], Payment(reference="unsigned-hint", amount_minor=100))

    assert deliver(client, hint).status_code == 303

    rows = database.rows("SELECT signed, method, body FROM webhook_events WHERE reference = 'unsigned-hint'")
    assert rows == [(False, "GET", b"orderId=unsigned-hint")]


def test_a_flood_of_hints_costs_neither_the_disk_nor_a_payer_the_way_back(database: Database, tmp_path: Path) -> None:
    # Given a gateway that takes few hints, and an order that the school has registered
    settings = {"NOUBA_GATEWAY_UNSIGNED_PER_SECOND": "1", "NOUBA_GATEWAY_PROCESSES": "1"}
    database.execute(
        "WITH payer AS (INSERT INTO users (name, email, role)"
        " VALUES ('p', 'flood@school.example', 'student') RETURNING id)"
        " INSERT INTO payments (provider, provider_reference, user_id, amount_minor, status)"
        " SELECT 'satim', 'registered-in-flood', id, 1000, 'pending' FROM payer"
    )
    with (
        RunningGateway(tmp_path / "log", database.url, **settings) as gateway,
        httpx.Client(base_url=gateway.url) as one,
    ):
        # When a stranger posts one order with 250 kB of noise, and made-up ones
        noise = "x" * 250_000
        for number in range(60):
            one.post("/webhooks/satim", content=f"orderId=flooded&noise={number}{noise}")
            one.post("/webhooks/satim", content=f"orderId=made-up-{number}")

        # Then payers are sent on to the school, and the registered order's hint is kept
        for number in range(20):
            answer = one.get(f"/webhooks/satim?orderId=payer-{number}")
            assert (answer.status_code, answer.headers["Location"]) == (
                303,
                f"https://school.example/paid?orderId=payer-{number}",
            )
        assert one.get("/webhooks/satim?orderId=registered-in-flood").status_code == 303

    kept = dict(database.rows("SELECT reference, count(*) FROM webhook_events WHERE NOT signed GROUP BY 1"))
    assert kept["registered-in-flood"] == 1
    assert kept["flooded"] == 1
    assert sum(count for reference, count in kept.items() if "made-up" in reference) <= 10
    assert database.rows("SELECT max(length(body)) FROM webhook_events WHERE NOT signed")[0][0] < 1024
