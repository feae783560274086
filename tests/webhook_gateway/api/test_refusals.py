"""Whatever a token does not open, and whatever has no documented form, is refused as a problem, and keeps nothing."""

import httpx
import pytest

from services.webhook_gateway import api_docs
from services.webhook_gateway.api.token_rate import TokenRate
from services.webhook_gateway.errors import TooManyRequestsError
from tests.webhook_gateway.api.conftest import SCOPES, TOKENS
from tests.webhook_gateway.processes import Database, RunningGateway

#: Each operation of version 1, and the scope that opens it.
OPERATIONS = {
    (method.upper(), path): described["description"].partition("Scope: `")[2].partition("`")[0]
    for path, operations in api_docs.document()["paths"].items()
    if path.startswith("/api/v1/")
    for method, described in operations.items()
}
#: Each operation with each scope that does not open it.
CLOSED = [
    (method, path, scope) for (method, path), opening in OPERATIONS.items() for scope in SCOPES if scope != opening
]


def filled(path: str) -> str:
    for name in ("payment_id", "user_id", "course_id", "event_id", "letter_id", "endpoint_id"):
        path = path.replace(f"{{{name}}}", "7")
    return path.replace("{key_id}", "0" * 32).replace("{language}", "ar")


def test_there_are_more_attempts_than_the_issue_asks_for() -> None:
    assert all(scope in SCOPES for scope in OPERATIONS.values())
    assert len(CLOSED) >= 40


@pytest.mark.parametrize(("method", "path", "scope"), CLOSED)
def test_a_token_of_another_scope_opens_nothing(
    gateway: RunningGateway, database: Database, another_client: dict[str, str], method: str, path: str, scope: str
) -> None:
    headers = {"Authorization": f"Bearer {TOKENS[scope]}", **another_client}
    with database.unchanged():
        answer = httpx.request(method, gateway.url + filled(path), headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope")
    assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_no_token_opens_nothing(
    gateway: RunningGateway, database: Database, another_client: dict[str, str], method: str, path: str
) -> None:
    with database.unchanged():
        answer = httpx.request(method, gateway.url + filled(path), headers=another_client)

    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorised")
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("path", "status", "named"),
    [
        ("/api/v1/payments?user=7", 400, "user"),
        ("/api/v1/payments?user_id=7&user_id=8", 400, "user_id"),
        ("/api/v1/payments?user_id=-1", 400, "user_id"),
        ("/api/v1/payments?user_id=1e3", 400, "user_id"),
        ("/api/v1/payments?user_id=7%20OR%201=1", 400, "user_id"),
        ("/api/v1/payments?user_id=9223372036854775808", 400, "user_id"),
        ("/api/v1/payments?status=paid", 400, "status"),
        ("/api/v1/payments?reference=", 400, "reference"),
        ("/api/v1/payments?reference=a%00b", 400, "reference"),
        ("/api/v1/payments?limit=101", 400, "limit"),
        ("/api/v1/payments?limit=0", 400, "limit"),
        ("/api/v1/payments?cursor=abc", 400, "cursor"),
        ("/api/v1/payments/7?expand=all", 400, "expand"),
        ("/api/v1/payments/999", 404, "payment 999"),
        ("/api/v1/payments/-1", 404, "not found"),
        ("/api/v1/payments/1%27", 404, "not found"),
        ("/api/v1/payments/9223372036854775808", 404, "not found"),
        ("/api/v1/users/999/wallet", 404, "user 999"),
        ("/api/v1/users/7/wallet?at=yesterday", 400, "at"),
        ("/api/v1/users/7/wallet?at=0.5", 400, "at"),
        ("/api/v1/users/7/wallet?at=0001-01-01T00:00:00%2B23:00", 400, "at"),
        ("/api/v1/users/7/wallet?at=2026-01-01T00:00:00", 400, "at"),
        ("/api/v1/users/999/subscriptions", 404, "user 999"),
        ("/api/v1/webhook-events/999", 404, "event 999"),
        ("/api/v1/webhook-events?state=lost", 400, "state"),
        ("/api/v1/dead-letters/999", 404, "dead letter 999"),
        ("/api/v1/operator-acts?what=%25", 400, "what"),
        ("/api/v1/nothing", 404, "not found"),
    ],
)
def test_a_refusal_is_a_problem_that_names_what_is_wrong(
    school: httpx.Client, path: str, status: int, named: str
) -> None:
    answer = school.get(path)

    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert set(problem) == {"type", "title", "status", "detail", "code"}
    assert named in problem["detail"] or named in problem["title"].lower()


def test_a_tokens_rate_is_its_own() -> None:
    rate = TokenRate(2)

    assert [rate.count("website")["RateLimit"].split(";t=")[0] for _ in range(2)] == ['"token";r=1', '"token";r=0']
    with pytest.raises(TooManyRequestsError) as refused:
        rate.count("website")
    assert 1 <= refused.value.retry_after_seconds <= 60
    assert rate.count("another")["RateLimit"].startswith('"token";r=1')
