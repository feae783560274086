"""The school says that a payment has begun: once or often, before its webhook or after it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
import schemathesis

from local.postgres import Postgres
from local.psp.signed_webhooks import Payment, signed
from services.webhook_gateway import api_docs
from services.webhook_gateway.providers.base import Mode
from services.webhook_gateway.providers.chargily.webhooks import Chargily
from services.webhook_gateway.settlement.book_payment_notice import WalletPolicy
from services.webhook_gateway.settlement.postgres import open_store, read_events
from services.webhook_gateway.settlement.settle import Settlement
from shared.runtime.database import build_engine
from tests.webhook_gateway.processes import SECRETS, Database, RunningGateway, deliver, new_database

TOKEN = "the-schools-token"
DOCUMENT = schemathesis.openapi.from_dict(api_docs.document())


@pytest.fixture(scope="module")
def database(migrated_server: Postgres) -> Iterator[Database]:
    with new_database(migrated_server) as database:
        database.execute("INSERT INTO users (id) VALUES (7), (8)")
        yield database


@pytest.fixture(scope="module")
def gateway(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    log = tmp_path_factory.mktemp("expected") / "log"
    with RunningGateway(log, database.url, NOUBA_API_TOKENS=TOKEN) as gateway:
        yield gateway
        assert "Traceback" not in gateway.log
        assert TOKEN not in gateway.log


@pytest.fixture
def school(gateway: RunningGateway) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=gateway.url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30) as client:
        yield client


def begun(**changes: Any) -> dict[str, Any]:
    return {"provider": "chargily", "provider_reference": "checkout-1", "user_id": 7, "amount": 250_000} | changes


def expect(school: httpx.Client, **changes: Any) -> httpx.Response:
    answer = school.post("/api/payments", json=begun(**changes))
    DOCUMENT["/api/payments"]["POST"].validate_response(answer)
    return answer


def test_a_payment_that_has_begun_is_known_and_due_in_two_minutes(school: httpx.Client, database: Database) -> None:
    answer = expect(school, provider_reference="first", order_number="O-first", currency="DZD")

    assert answer.status_code == 200
    assert answer.json()["status"] == "pending"
    row = database.rows(
        "SELECT provider, provider_reference, order_number, user_id, amount_minor, currency, amount_is_final, asks, "
        "extract(epoch FROM next_ask_at - created_at)::int FROM payments WHERE id = %s",
        answer.json()["payment_id"],
    )
    assert row == [("chargily", "first", "O-first", 7, 250_000, "DZD", True, 0, 120)]


def test_saying_it_again_changes_nothing(school: httpx.Client, database: Database) -> None:
    first = expect(school, provider_reference="again")
    with database.unchanged():
        assert expect(school, provider_reference="again").json() == first.json()


def test_the_school_says_the_amount_where_a_hold_only_tried_one(school: httpx.Client, database: Database) -> None:
    # Given a hold of another amount that was reported first
    database.execute(
        "INSERT INTO payments (provider, provider_reference, user_id, amount_minor, amount_is_final, status)"
        " VALUES ('chargily', 'held', 7, 300000, false, 'authorized')"
    )

    # When the school announces the payment
    expect(school, provider_reference="held", amount=500_000)

    # Then its amount is the one to be paid, as if it had come first
    row = database.rows("SELECT amount_minor, amount_is_final FROM payments WHERE provider_reference = 'held'")
    assert row == [(500_000, True)]


def test_two_addresses_of_one_bank_are_one_provider(school: httpx.Client, database: Database) -> None:
    ids = {expect(school, provider=name, provider_reference="order").json()["payment_id"] for name in ("satim", "cib")}

    assert database.rows("SELECT provider FROM payments WHERE id = ANY(%s)", list(ids)) == [("satim",)]


def test_a_row_of_the_checkout_without_a_reference_gets_it(school: httpx.Client, database: Database) -> None:
    database.execute(
        "INSERT INTO payments (provider, order_number, user_id, amount_minor) VALUES ('chargily', 'O-2', 7, 250000)"
    )
    with database.unchanged():
        expect(school, provider_reference="second", order_number="O-2")

    assert database.rows("SELECT order_number FROM payments WHERE provider_reference = 'second'") == [("O-2",)]


def test_an_event_that_waited_for_its_payment_is_tried_again_at_once(
    school: httpx.Client, gateway: RunningGateway, database: Database
) -> None:
    delivery = signed("chargily", [SECRETS["chargily"]], Payment(reference="outran", amount_minor=250_000))
    with httpx.Client(base_url=gateway.url) as provider:
        event_id = deliver(provider, delivery).json()["event_id"]
    database.execute(
        "UPDATE webhook_events SET attempts = 3, next_attempt_at = now() + interval '10 min' WHERE id = %s", event_id
    )

    expect(school, provider_reference="outran")

    assert database.rows("SELECT next_attempt_at <= now() FROM webhook_events WHERE id = %s", event_id) == [(True,)]


def test_what_a_payment_was_made_for_is_paid_first(
    school: httpx.Client, gateway: RunningGateway, database: Database
) -> None:
    # Given two subscriptions that the payment could pay, of which the school names the newer one
    older, named = 71, 72
    database.execute(
        "INSERT INTO subscriptions (id, user_id, amount_minor, created_at) "
        "VALUES (71, 8, 1000, '2026-01-01'), (72, 8, 1000, '2026-01-02')"
    )
    expect(school, provider_reference="for-one", user_id=8, amount=1000, subscription_id=named)

    # When it is paid
    engine = build_engine(database.url, pool_size=1, autocommit=True)
    delivery = signed("chargily", [SECRETS["chargily"]], Payment(reference="for-one", amount_minor=1000))
    with httpx.Client(base_url=gateway.url) as provider:
        event_id = deliver(provider, delivery).json()["event_id"]
    settlement = Settlement(
        read=lambda number: read_events(engine, [number])[0],
        books=lambda: open_store(engine, timedelta(days=30)),
        providers={"chargily": Chargily([SECRETS["chargily"]])},
        asks={},
        terms=WalletPolicy("DZD", ZoneInfo("Africa/Algiers"), lambda: datetime.now(UTC)),
        payments_mode=Mode.TEST,
    )
    assert settlement.settle(event_id) is not None
    engine.dispose()

    # Then that one runs, and the older one waits
    rows = database.rows("SELECT id, status FROM subscriptions WHERE id = ANY(%s) ORDER BY id", [older, named])
    assert rows == [(older, "pending_payment"), (named, "active")]


@pytest.mark.parametrize("changes", [{"user_id": 8}, {"amount": 1}, {"order_number": "O-9"}], ids=str)
def test_another_payment_under_the_same_reference_is_refused(
    school: httpx.Client, database: Database, changes: dict[str, Any]
) -> None:
    expect(school, provider_reference="taken", order_number="O-8")
    with database.unchanged():
        answer = expect(school, provider_reference="taken", **{"order_number": "O-8", **changes})

    assert (answer.status_code, answer.json()["error"]) == (409, "conflicting_payment")


@pytest.mark.parametrize(
    ("changes", "status", "error"),
    [
        ({"provider": "paypal"}, 404, "unknown_provider"),
        ({"user_id": 99}, 404, "unknown_user"),
        ({"user_id": "7"}, 400, "bad_payment"),
        ({"amount": 2500.0}, 400, "bad_payment"),
        ({"amount": -1}, 400, "bad_payment"),
        ({"amount": 10**15 + 1}, 400, "bad_payment"),
        ({"currency": "EUR"}, 400, "bad_payment"),
        ({"provider_reference": ""}, 400, "bad_payment"),
        ({"provider_reference": "with a\u0000byte"}, 400, "bad_payment"),
        ({"provider_reference": "x" * 201}, 400, "bad_payment"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_with_its_field_and_nothing_is_kept(
    school: httpx.Client, database: Database, changes: dict[str, Any], status: int, error: str
) -> None:
    with database.unchanged():
        answer = expect(school, **changes)

    assert (answer.status_code, answer.json()["error"]) == (status, error)


def test_a_stranger_announces_nothing(gateway: RunningGateway, database: Database) -> None:
    with database.unchanged():
        answer = httpx.post(f"{gateway.url}/api/payments", json=begun(), headers={"Authorization": "Bearer guess"})

    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
