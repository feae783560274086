"""A gateway with a token of each scope, before a school with three users, their payments and a dead letter."""

import ipaddress
import itertools
from collections.abc import Iterator

import httpx
import pytest

from local.postgres import Postgres
from local.psp.satim_bank import Bank
from local.psp.server import simulator
from shared.runtime.database import build_engine
from tests.webhook_gateway.processes import Database, RunningGateway, new_database
from tests.webhook_gateway.providers.servers import serving
from tests.webhook_gateway.reconciliation.harness import KEY, MERCHANT, STRIPE_KEY, Bench

SCOPES = ("read", "payments", "uploads", "operate")
TOKENS = {scope: f"token-that-opens-{scope}" for scope in SCOPES}
TOKEN_OF_ALL = "token-that-opens-everything"

_SCHOOL = """
INSERT INTO users (id) VALUES (7), (8), (9);
INSERT INTO courses (id, title) VALUES (7, 'Optics');
INSERT INTO payments (id, provider, provider_reference, order_number, user_id, amount_minor, status)
    OVERRIDING SYSTEM VALUE VALUES
    (1, 'chargily', 'checkout-1', 'O-1', 7, 250000, 'failed'),
    (2, 'chargily', 'checkout-2', 'O-1', 7, 250000, 'pending'),
    (3, 'satim', 'order-3', 'O-3', 8, 100000, 'expired'),
    (4, 'chargily', 'checkout-4', 'O-4', 9, 250000, 'failed'),
    (5, 'chargily', 'checkout-5', 'O-5', 9, 250000, 'pending');
INSERT INTO payment_objects (payment_id, kind, object_id, state, amount_minor) VALUES
    (1, 'refund', 're_1', 'pending', 100), (1, 'fee', 'fee_1', 'payment', 20);
INSERT INTO subscriptions (user_id, amount_minor) VALUES (7, 300000);
INSERT INTO webhook_events (provider, dedupe_key, body, body_sha256, state, payment_id, reason)
    VALUES ('chargily', 'k', 'b', '', 'quarantined', 1, 'another amount');
INSERT INTO dead_letters (queue, message_id, message, cause, attempts, died_at, death)
    VALUES ('videos', 'm', '', 'retries', 1, now(), '');
INSERT INTO operator_acts (who, what) VALUES ('amina', 'dead.replay');
SELECT setval(pg_get_serial_sequence('payments', 'id'), 1000);
"""


@pytest.fixture(scope="package")
def database(migrated_server: Postgres) -> Iterator[Database]:
    with new_database(migrated_server) as database:
        database.execute(_SCHOOL)
        yield database


@pytest.fixture(scope="package")
def simulator_url() -> Iterator[str]:
    """Chargily, SATIM and Stripe as the gateway of the tests knows them."""
    app = simulator(
        Bank(),
        **MERCHANT,
        chargily_secrets=(KEY,),
        stripe_keys=(STRIPE_KEY,),
    )
    with serving(app) as url:
        yield url


@pytest.fixture(scope="package")
def settings(simulator_url: str) -> dict[str, str]:
    """The settings of a gateway whose providers are the simulator."""
    tokens = ",".join(f"{scope}:{scope}:{token}" for scope, token in TOKENS.items())
    return {
        "NOUBA_API_TOKENS": f"{tokens},{TOKEN_OF_ALL}",
        "NOUBA_GATEWAY_PROCESSES": "1",
        "NOUBA_GATEWAY_PROXIES": "1",
        "NOUBA_CHECKOUT_RETURN_URLS": "https://school.example/orders,http://127.0.0.1",
        "NOUBA_PLAYBACK_SECRETS": "0123456789abcdef0123456789abcdef",
        "NOUBA_PLAYBACK_URL": "https://lessons.example",
        "NOUBA_PSP_CHARGILY_BASE_URL": simulator_url,
        "NOUBA_PSP_CHARGILY_SECRETS": KEY,
        "NOUBA_PSP_STRIPE_BASE_URL": simulator_url,
        "NOUBA_PSP_STRIPE_API_KEY": STRIPE_KEY,
        "NOUBA_PSP_SATIM_BASE_URL": f"{simulator_url}/payment/rest",
        "NOUBA_PSP_SATIM_USERNAME": MERCHANT["username"],
        "NOUBA_PSP_SATIM_PASSWORD": MERCHANT["password"],
        "NOUBA_PSP_SATIM_TERMINAL": "E000000001",
        "NOUBA_GATEWAY_API_REQUESTS_PER_MINUTE": "100000",
    }


@pytest.fixture(scope="package")
def gateway(
    database: Database, settings: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningGateway]:
    with RunningGateway(tmp_path_factory.mktemp("api") / "log", database.url, **settings) as gateway:
        yield gateway
        assert "Traceback" not in gateway.log
        assert not [token for token in (*TOKENS.values(), TOKEN_OF_ALL) if token in gateway.log]


_CLIENTS = itertools.count(1)


@pytest.fixture
def another_client() -> dict[str, str]:
    """Headers of a client that nobody else is: after 20 wrong tokens in a minute one is refused for a while."""
    return {"X-Forwarded-For": str(ipaddress.ip_address("198.18.0.0") + next(_CLIENTS))}


@pytest.fixture
def school(gateway: RunningGateway, another_client: dict[str, str]) -> Iterator[httpx.Client]:
    """The school's back end, which may do everything."""
    headers = {"Authorization": f"Bearer {TOKEN_OF_ALL}", **another_client}
    with httpx.Client(base_url=gateway.url, headers=headers, timeout=30) as client:
        yield client


@pytest.fixture
def bench(database: Database, simulator_url: str) -> Iterator[Bench]:
    """The worker's side: it polls the same providers, and settles what they say."""
    engine = build_engine(database.url)
    yield Bench(engine, simulator_url)
    engine.dispose()
