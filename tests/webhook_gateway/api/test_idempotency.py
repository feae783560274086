"""A request with an Idempotency-Key acts once, however often and however simultaneously it is sent."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from shared.runtime.api_tokens import parse_tokens
from tests.webhook_gateway.api.conftest import TOKEN_OF_ALL
from tests.webhook_gateway.processes import Database

PATH = "/api/v1/payments"


def begin(school: httpx.Client, key: str, **changes: Any) -> httpx.Response:
    body = {"provider": "chargily", "provider_reference": f"of-{key}", "user_id": 7, "amount": 100} | changes
    return school.post(PATH, content=json.dumps(body), headers={"Idempotency-Key": key})


def test_a_repeated_request_gets_the_first_answer(school: httpx.Client, database: Database) -> None:
    first = begin(school, "again")
    with database.unchanged():
        second = begin(school, "again")

    assert (first.status_code, second.status_code) == (200, 200)
    assert (second.content, second.headers["Idempotency-Replayed"]) == (first.content, "true")
    assert "Idempotency-Replayed" not in first.headers
    assert first.headers["Cache-Control"] == second.headers["Cache-Control"] == "private, no-store"


def test_a_key_of_another_request_is_refused(school: httpx.Client, database: Database) -> None:
    begin(school, "once")
    with database.unchanged():
        answer = begin(school, "once", amount=200)

    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")


def test_a_key_whose_request_is_running_is_refused(school: httpx.Client, database: Database) -> None:
    # Given a request that another process has begun
    body = json.dumps({"provider": "chargily", "provider_reference": "of-busy", "user_id": 7, "amount": 100})
    digest = hashlib.sha256(b"\n".join((b"POST", PATH.encode(), body.encode()))).digest()
    (token,) = parse_tokens(f"token-5:read:{TOKEN_OF_ALL}")
    insert = "INSERT INTO api_idempotency_keys (token_name, key, request_sha256) VALUES (%s, 'busy', %s)"
    database.execute(insert, token.id, digest)

    # When it is sent again, then it waits for the first one
    with database.unchanged():
        answer = begin(school, "busy")
    assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_key_in_progress")

    # Until that one is lost for certain
    database.execute("UPDATE api_idempotency_keys SET begun_at = now() - interval '3 minutes' WHERE key = 'busy'")
    assert begin(school, "busy").status_code == 200


def test_simultaneous_requests_of_a_key_act_once(school: httpx.Client, database: Database) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: begin(school, "race"), range(8)))

    assert {answer.status_code for answer in answers} <= {200, 409}
    done = [answer for answer in answers if answer.status_code == 200]
    assert sum("Idempotency-Replayed" not in answer.headers for answer in done) == 1
    assert len({answer.content for answer in done}) == 1
    assert database.rows("SELECT count(*) FROM payments WHERE provider_reference = 'of-race'") == [(1,)]


def test_a_refused_request_leaves_its_key_free(school: httpx.Client) -> None:
    assert begin(school, "free", user_id=999).status_code == 404
    assert begin(school, "free").status_code == 200


def test_old_keys_are_taken_away_by_new_ones(school: httpx.Client, database: Database) -> None:
    begin(school, "old")
    database.execute("UPDATE api_idempotency_keys SET begun_at = now() - interval '2 days' WHERE key = 'old'")

    begin(school, "new")

    assert database.rows("SELECT count(*) FROM api_idempotency_keys WHERE key = 'old'") == [(0,)]
