"""`nouba tokens`: a token opens its scopes until it expires or is revoked, and the database has only its digest."""

import json

import httpx
import pytest
from click.testing import CliRunner, Result

from shared.cli import main
from tests.webhook_gateway.processes import Database, RunningGateway


@pytest.fixture(autouse=True)
def environment(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOUBA_DATABASE_URL", database.url)


def tokens(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["tokens", *arguments])


def create(name: str, scope: str = "read", *more: str) -> str:
    made = tokens("create", "--name", name, "--scope", scope, "--actor-name", "amina", "--json", *more)
    assert made.exit_code == 0, made.output
    return str(json.loads(made.stdout)["token"])


def ask(gateway: RunningGateway, token: str, path: str = "/api/v1/payments") -> int:
    headers = {"Authorization": f"Bearer {token}", "X-Forwarded-For": "203.0.113.77"}
    return httpx.get(gateway.url + path, headers=headers).status_code


def test_a_token_opens_its_scopes_and_shows_its_last_use(gateway: RunningGateway, database: Database) -> None:
    token = create("website", "read,payments")

    assert (ask(gateway, token), ask(gateway, token, "/api/v1/dead-letters")) == (200, 403)
    known = {one["name"]: one for one in json.loads(tokens("list", "--json").stdout)["tokens"]}
    assert known["website"]["scopes"] == ["payments", "read"]
    assert known["website"]["created_by"] == "amina"
    assert known["website"]["last_used_at"]
    rows = database.rows("SELECT digest::text || name || created_by FROM api_tokens")
    assert not [row for row in rows if token in row[0]]
    assert database.rows("SELECT who FROM operator_acts WHERE what = 'token.create' AND ids = '[\"website\"]'") == [
        ("amina",)
    ]


def test_a_revoked_token_opens_nothing_from_the_next_request_on(gateway: RunningGateway) -> None:
    token = create("laptop")
    assert ask(gateway, token) == 200

    assert tokens("revoke", "laptop", "--reason", "lost").exit_code == 0

    assert ask(gateway, token) == 401
    # and its name may be given again
    assert ask(gateway, create("laptop")) == 200


def test_an_expired_token_opens_nothing(gateway: RunningGateway, database: Database) -> None:
    token = create("summer", "read", "--expires", "90d")
    assert ask(gateway, token) == 200

    database.execute("UPDATE api_tokens SET expires_at = now() WHERE name = 'summer'")

    assert ask(gateway, token) == 401


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("create", "--name", "twice", "--scope", "read"), "nouba tokens revoke twice"),
        (("create", "--name", "Two Words", "--scope", "read"), "lower-case"),
        (("create", "--name", "one", "--scope", "everything"), "no scope"),
        (("create", "--name", "one", "--scope", "read", "--expires", "2020-01-01"), "over already"),
        (("revoke", "nobody"), "nouba tokens list"),
    ],
)
def test_what_cannot_be_is_a_sentence(arguments: tuple[str, ...], message: str) -> None:
    tokens("create", "--name", "twice", "--scope", "read")

    refused = tokens(*arguments)

    assert refused.exit_code != 0
    assert message in refused.output
