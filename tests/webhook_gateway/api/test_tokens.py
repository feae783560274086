"""`nouba api-tokens`: a token opens its scopes until it expires or is revoked, and the database has only its digest."""

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
    return CliRunner().invoke(main, ["api-tokens", *arguments])


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


def test_an_answer_shows_what_is_left_of_the_tokens_rate(gateway: RunningGateway) -> None:
    # its own token: of another's window, requests of a minute ago fall out between the two
    headers = {"Authorization": f"Bearer {create('rate')}"}
    answers = [httpx.get(f"{gateway.url}/api/v1/payments", headers=headers) for _ in range(2)]

    assert answers[0].headers["RateLimit-Policy"] == '"token";q=100000;w=60'
    left = [answer.headers["RateLimit"].split("r=")[1].split(";")[0] for answer in answers]
    assert left == ["99999", "99998"]


def test_a_namesake_of_a_revoked_token_gets_neither_its_answers_nor_its_rate(
    gateway: RunningGateway, database: Database
) -> None:
    # Given a token that made an endpoint, and was revoked
    body = {"url": "https://school.example/namesake", "event_types": ["*"]}

    def add(token: str) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": "namesake"}
        return httpx.post(f"{gateway.url}/api/v1/webhook-endpoints", json=body, headers=headers)

    def left(answer: httpx.Response) -> str:
        return answer.headers["RateLimit"].split(";")[1]

    old = create("namesake", "operate")
    first, again = add(old), add(old)
    assert (first.status_code, again.headers["Idempotency-Replayed"]) == (201, "true"), first.text
    tokens("revoke", "namesake")

    # When a later token of that name sends the same request under the same key
    second = add(create("namesake", "operate"))

    # Then it is a request of its own, and counted alone
    assert second.status_code == 201
    assert "Idempotency-Replayed" not in second.headers
    assert second.json()["secret"] != first.json()["secret"]
    assert left(second) == left(first) != left(again)
    # and the audit log has the id of each
    acts = "SELECT credential FROM operator_acts WHERE what = 'endpoints.add' AND who = 'namesake' ORDER BY id"
    ids = "SELECT 'namesake/' || id FROM api_tokens WHERE name = 'namesake' ORDER BY id"
    assert database.rows(acts) == database.rows(ids)
    assert len(database.rows(acts)) == 2


def test_a_name_of_the_setting_is_refused(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOUBA_API_TOKENS", "till:read:token-of-the-setting,another-token-of-the-setting")

    refused = [tokens("create", "--name", name, "--scope", "read") for name in ("till", "token-2")]

    assert [one.exit_code for one in refused] == [1, 1]
    assert all("NOUBA_API_TOKENS has a token" in one.output for one in refused)
    assert database.rows("SELECT count(*) FROM api_tokens WHERE name IN ('till', 'token-2')") == [(0,)]


def test_an_expired_token_opens_nothing(gateway: RunningGateway, database: Database) -> None:
    token = create("summer", "read", "--expires", "90d")
    assert ask(gateway, token) == 200

    database.execute("UPDATE api_tokens SET expires_at = now() WHERE name = 'summer'")

    assert ask(gateway, token) == 401


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("create", "--name", "twice", "--scope", "read"), "nouba api-tokens revoke twice"),
        (("create", "--name", "Two Words", "--scope", "read"), "lower-case"),
        (("create", "--name", "one", "--scope", "everything"), "no scope"),
        (("create", "--name", "one", "--scope", "read", "--expires", "2020-01-01"), "over already"),
        (("revoke", "nobody"), "nouba api-tokens list"),
    ],
)
def test_what_cannot_be_is_a_sentence(arguments: tuple[str, ...], message: str) -> None:
    tokens("create", "--name", "twice", "--scope", "read")

    refused = tokens(*arguments)

    assert refused.exit_code != 0
    assert message in refused.output
