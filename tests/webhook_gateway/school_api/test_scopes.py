"""A token of the school opens the routes of its scopes alone, and guessing is limited."""

from collections.abc import Iterator

import httpx
import pytest

from local.postgres import Postgres
from services.webhook_gateway.settings import GatewaySettings
from shared.runtime.api_tokens import FAILURES_PER_MINUTE
from shared.runtime.settings import SettingsError, read_settings
from tests.webhook_gateway.processes import NO_RABBITMQ, RunningGateway, new_database

TOKENS = {scope: f"token-that-opens-{scope}" for scope in ("read", "payments", "uploads", "operate")}
#: Each route that asks for a token, and the scope that opens it.
ROUTES = {
    ("GET", "/api/courses/7/keys/none"): "read",
    ("POST", "/api/payments"): "payments",
    ("POST", "/api/courses/7/video"): "uploads",
    ("POST", "/api/courses/7/video/complete"): "uploads",
}


@pytest.fixture(scope="module")
def gateway(migrated_server: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    tokens = ",".join(f"{scope}:{scope}:{token}" for scope, token in TOKENS.items())
    with (
        new_database(migrated_server) as database,
        RunningGateway(
            tmp_path_factory.mktemp("scopes") / "log",
            database.url,
            NOUBA_API_TOKENS=tokens,
            NOUBA_GATEWAY_PROCESSES="1",
            NOUBA_GATEWAY_PROXIES="1",
        ) as gateway,
    ):
        yield gateway
        assert "Traceback" not in gateway.log
        assert not [token for token in TOKENS.values() if token in gateway.log]


@pytest.mark.parametrize(("route", "scope"), ROUTES.items(), ids=str)
def test_a_route_opens_for_its_scope_alone(gateway: RunningGateway, route: tuple[str, str], scope: str) -> None:
    method, path = route
    for name, token in TOKENS.items():
        answer = httpx.request(method, gateway.url + path, headers={"Authorization": f"Bearer {token}"}, json={})

        # with the scope the request is checked, and is not one of the documented form
        assert (answer.status_code == 403) == (name != scope), answer.text
        assert name == scope or answer.json()["error"] == "insufficient_scope"


def test_guessing_is_limited_by_client(gateway: RunningGateway) -> None:
    # Given a client that has guessed as often as it may
    def ask(token: str, client: str) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}", "X-Forwarded-For": client}
        return httpx.get(f"{gateway.url}/api/courses/7/keys/none", headers=headers)

    guesses = {ask(f"guess-{number}", "203.0.113.1").status_code for number in range(FAILURES_PER_MINUTE)}

    # Then its next request is refused, right as its token may be, and another client's is not
    limited = ask(TOKENS["read"], "203.0.113.1")
    assert guesses == {401}
    assert (limited.status_code, limited.headers["Retry-After"]) == (429, "60")
    assert ask(TOKENS["read"], "203.0.113.2").status_code == 404


@pytest.mark.parametrize("tokens", ["x", "fifteen-bytes-x", "board:everything:token-of-the-tests"])
def test_a_token_that_can_be_guessed_is_a_refusal_to_start(tokens: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOUBA_DATABASE_URL", "postgresql://nobody@127.0.0.1/nothing")
    monkeypatch.setenv("NOUBA_RABBITMQ_URL", NO_RABBITMQ)
    monkeypatch.setenv("NOUBA_API_TOKENS", tokens)

    with pytest.raises(SettingsError, match="NOUBA_API_TOKENS") as refused:
        read_settings(GatewaySettings)

    assert tokens not in str(refused.value).split()
