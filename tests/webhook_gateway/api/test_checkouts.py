"""A checkout is created once for each order, at every provider, and no crash loses its payment."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import schemathesis

from services.webhook_gateway import api_docs
from services.webhook_gateway.reconciliation.postgres_schedule import PostgresPollSchedule
from tests.webhook_gateway.processes import Database, RunningGateway
from tests.webhook_gateway.reconciliation.harness import Bench

DOCUMENT = schemathesis.openapi.from_dict(api_docs.document())
PROVIDERS = ("chargily", "satim", "stripe")


def wish(provider: str = "chargily", **changes: Any) -> dict[str, Any]:
    return {
        "provider": provider,
        "user_id": 7,
        "order_number": uuid.uuid4().hex[:10],
        "amount_minor": 250_000,
        "currency": "DZD",
        "return_url": "https://school.example/orders/1",
    } | changes


def create(school: httpx.Client, body: dict[str, Any]) -> httpx.Response:
    answer = school.post("/api/v1/checkouts", json=body)
    DOCUMENT["/api/v1/checkouts"]["POST"].validate_response(answer)
    return answer


def pay(redirect_url: str) -> None:
    """The payer pays on the provider's page."""
    parts = urlsplit(redirect_url)
    root = f"{parts.scheme}://{parts.netloc}"
    if "mdOrder" in parts.query:
        url = f"{root}/simulator/orders/{parse_qs(parts.query)['mdOrder'][0]}/pay"
    elif "/stripe/" in parts.path:
        url = redirect_url
    else:
        url = f"{redirect_url}/paid"
    httpx.post(url).raise_for_status()


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_checkout_registers_its_payment_and_is_booked_although_every_webhook_is_lost(
    school: httpx.Client, database: Database, bench: Bench, provider: str
) -> None:
    # Given a checkout of a user's order
    database.execute("INSERT INTO users (id) VALUES (80) ON CONFLICT DO NOTHING")
    before = database.rows("SELECT balance_minor FROM users WHERE id = 80")[0][0]
    body = wish(provider, user_id=80)
    answer = create(school, body)
    assert answer.status_code == 201, answer.text
    made = answer.json()
    payment = school.get(f"/api/v1/payments/{made['payment_id']}").json()
    assert (payment["status"], payment["order_number"], payment["amount_minor"], payment["user_id"]) == (
        "pending",
        body["order_number"],
        250_000,
        80,
    )
    assert (payment["reference"] is None) == (provider == "stripe")

    # When the payer pays, and no webhook comes
    pay(made["redirect_url"])
    database.execute("UPDATE payments SET next_ask_at = NULL WHERE id <> %s", made["payment_id"])
    bench.make_due()
    bench.ask(provider)
    bench.settle_all()

    # Then the same payment is completed, and the wallet has the money
    payment = school.get(f"/api/v1/payments/{made['payment_id']}").json()
    assert (payment["status"], payment["credited_minor"]) == ("completed", 250_000)
    assert database.rows("SELECT count(*) FROM payments WHERE order_number = %s", body["order_number"]) == [(1,)]
    assert database.rows("SELECT balance_minor FROM users WHERE id = 80")[0][0] == before + 250_000

    # And the order is not paid twice
    again = create(school, body)
    assert (again.status_code, again.json()["code"]) == (409, "conflicting_checkout")


@pytest.mark.parametrize("provider", PROVIDERS)
def test_simultaneous_requests_for_an_order_make_one_checkout(
    school: httpx.Client, database: Database, provider: str
) -> None:
    body = wish(provider)

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: create(school, body), range(6)))

    assert {answer.status_code for answer in answers} <= {201, 409}
    assert len({answer.content for answer in answers if answer.status_code == 201}) == 1
    assert create(school, body).status_code == 201
    assert database.rows("SELECT count(*) FROM payments WHERE order_number = %s", body["order_number"]) == [(1,)]


def test_simultaneous_requests_for_an_order_whose_payment_failed_register_one_payment(
    school: httpx.Client, database: Database
) -> None:
    # Given an order whose first payment ended without a checkout
    body = wish()
    first = create(school, body).json()["payment_id"]
    database.execute(
        "UPDATE checkouts SET redirect_url = NULL, provider_checkout_id = NULL WHERE payment_id = %s", first
    )
    database.execute("UPDATE payments SET provider_reference = NULL, status = 'failed' WHERE id = %s", first)

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: create(school, body), range(6)))

    assert {answer.status_code for answer in answers} <= {201, 409}
    assert len({answer.content for answer in answers if answer.status_code == 201}) == 1
    assert database.rows("SELECT count(*) FROM payments WHERE order_number = %s", body["order_number"]) == [(2,)]


@pytest.mark.parametrize(
    "changes",
    [{"user_id": 8}, {"amount_minor": 100}, {"subscription_id": 3}, {"return_url": "https://school.example/orders/2"}],
    ids=str,
)
def test_an_order_with_another_checkout_is_refused(
    school: httpx.Client, database: Database, changes: dict[str, Any]
) -> None:
    body = wish()
    assert create(school, body).status_code == 201

    with database.unchanged():
        answer = create(school, body | changes)

    assert (answer.status_code, answer.json()["code"]) == (409, "conflicting_checkout")


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"provider": "paypal"}, 404, "unknown_provider"),
        ({"provider": "generic"}, 422, "checkout_refused"),
        ({"user_id": 999}, 404, "unknown_user"),
        ({"amount_minor": 250_050}, 422, "checkout_refused"),
        ({"provider": "satim", "amount_minor": 4_900}, 422, "checkout_refused"),
        ({"provider": "satim", "order_number": "longer-than-ten"}, 422, "checkout_refused"),
        ({"amount_minor": 0}, 400, "bad_request"),
        ({"amount_minor": 2.5}, 400, "bad_request"),
        ({"currency": "EUR"}, 400, "bad_request"),
        ({"password": "x"}, 400, "bad_request"),
        ({"order_number": "a b"}, 400, "bad_request"),
        ({"return_url": "https://elsewhere.example/orders"}, 400, "bad_request"),
        ({"return_url": "https://school.example.elsewhere.example/orders"}, 400, "bad_request"),
        ({"return_url": "https://school.example@elsewhere.example/orders"}, 400, "bad_request"),
        ({"return_url": "https://user@school.example/orders"}, 400, "bad_request"),
        ({"return_url": "https://school.example/ordersX"}, 400, "bad_request"),
        ({"return_url": "https://school.example/orders/../admin"}, 400, "bad_request"),
        ({"return_url": "https://school.example/orders/%2e%2e/admin"}, 400, "bad_request"),
        ({"return_url": "https://school.example:8443/orders"}, 400, "bad_request"),
        ({"return_url": "http://school.example/orders"}, 400, "bad_request"),
        ({"return_url": "//school.example/orders"}, 400, "bad_request"),
        ({"return_url": "https:\\\\school.example\\orders"}, 400, "bad_request"),
        ({"return_url": "javascript:alert(1)"}, 400, "bad_request"),
    ],
    ids=str,
)
def test_a_checkout_that_cannot_be_registers_nothing(
    school: httpx.Client, database: Database, changes: dict[str, Any], status: int, code: str
) -> None:
    with database.unchanged():
        answer = create(school, wish() | changes)

    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


def test_a_school_on_this_machine_may_have_any_port(school: httpx.Client) -> None:
    assert create(school, wish(return_url="http://127.0.0.1:3000/back")).status_code == 201


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_provider_that_is_away_leaves_the_order_to_the_next_request(
    school: httpx.Client, database: Database, bench: Bench, provider: str
) -> None:
    body = wish(provider)
    bench.be_wrong("chargily_creation" if provider == "chargily" else provider, "broken")
    try:
        unavailable = create(school, body)
    finally:
        bench.be_right()
    assert (unavailable.status_code, unavailable.json()["code"]) == (503, "provider_unavailable")
    assert unavailable.headers["Retry-After"]

    assert create(school, body).status_code == 201
    assert database.rows("SELECT count(*) FROM payments WHERE order_number = %s", body["order_number"]) == [(1,)]


def test_a_checkout_whose_request_was_lost_is_begun_again_or_expires(
    school: httpx.Client, database: Database, bench: Bench
) -> None:
    # Given a request that died between the registration and the provider's answer
    body = wish()
    first = create(school, body).json()
    database.execute(
        "UPDATE checkouts SET redirect_url = NULL, provider_checkout_id = NULL WHERE payment_id = %s",
        first["payment_id"],
    )
    database.execute("UPDATE payments SET provider_reference = NULL WHERE id = %s", first["payment_id"])

    # When the order is asked for at once, then that request may still be running
    assert create(school, body).json()["code"] == "checkout_in_progress"

    # When it is certain that it is lost, then the same payment gets a checkout
    age = "UPDATE checkouts SET begun_at = now() - %s, created_at = now() - %s WHERE payment_id = %s"
    database.execute(age, timedelta(minutes=2), timedelta(minutes=2), first["payment_id"])
    again = create(school, body)
    assert (again.status_code, again.json()["payment_id"]) == (201, first["payment_id"])

    # When nobody asks again for a day, then the payment expires, and one with a checkout does not
    database.execute(
        "UPDATE checkouts SET redirect_url = NULL, provider_checkout_id = NULL WHERE payment_id = %s",
        first["payment_id"],
    )
    database.execute("UPDATE payments SET provider_reference = NULL WHERE id = %s", first["payment_id"])
    database.execute(age, timedelta(days=2), timedelta(days=2), first["payment_id"])
    schedule = PostgresPollSchedule(bench.engine.execution_options(isolation_level="AUTOCOMMIT"))
    assert schedule.expire_lost_checkouts(timedelta(days=1)) == 1
    assert school.get(f"/api/v1/payments/{first['payment_id']}").json()["status"] == "expired"

    # And the order may be begun with a new payment
    assert create(school, body).json()["payment_id"] > first["payment_id"]


@pytest.mark.parametrize(
    "place",
    [
        pytest.param("checkout.after_begin", marks=pytest.mark.slow),
        pytest.param("checkout.after_call", marks=pytest.mark.slow),
        "checkout.after_keep",
    ],
)
def test_a_gateway_that_is_killed_there_leaves_one_payment_for_the_next_request(
    school: httpx.Client, database: Database, bench: Bench, settings: dict[str, str], tmp_path: Path, place: str
) -> None:
    # Given a gateway that dies while it creates a checkout
    body = wish()
    broken_settings = settings | {"NOUBA_FAILPOINTS": f"{place}=kill"}
    with (
        RunningGateway(tmp_path / "log", database.url, **broken_settings) as broken,
        pytest.raises(httpx.TransportError),
    ):
        httpx.post(
            f"{broken.url}/api/v1/checkouts", json=body, headers=dict(school.headers), timeout=30
        ).raise_for_status()
    database.execute("UPDATE checkouts SET begun_at = now() - interval '2 minutes' WHERE redirect_url IS NULL")

    # When the school sends it again and the payer pays
    made = create(school, body)
    assert made.status_code == 201, made.text
    pay(made.json()["redirect_url"])

    # Then there is one payment, and polling finds that it is paid
    assert database.rows("SELECT id FROM payments WHERE order_number = %s", body["order_number"]) == [
        (made.json()["payment_id"],)
    ]
    database.execute("UPDATE payments SET next_ask_at = NULL WHERE id <> %s", made.json()["payment_id"])
    bench.make_due()
    bench.ask("chargily")
    bench.settle_all()
    assert school.get(f"/api/v1/payments/{made.json()['payment_id']}").json()["status"] == "completed"
