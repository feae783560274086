"""The school reads payments, wallets, subscriptions and operators' lists, page by page, and only what is new."""

import threading
from typing import Any

import httpx
import pytest
import schemathesis

from services.webhook_gateway import api_docs
from tests.webhook_gateway.processes import Database

DOCUMENT = schemathesis.openapi.from_dict(api_docs.document())


def read(school: httpx.Client, path: str, documented: str | None = None, **query: Any) -> Any:
    """The answer's JSON, which has the documented form."""
    answer = school.get(path, params=query)
    assert answer.status_code == 200, answer.text
    DOCUMENT[documented or path]["GET"].validate_response(answer)
    return answer.json()


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ({"order_number": "O-1"}, [2, 1]),
        ({"reference": "order-3"}, [3]),
        ({"user_id": 9, "status": "failed"}, [4]),
        ({"user_id": 8, "order_number": "O-1"}, []),
    ],
    ids=str,
)
def test_payments_are_found_by_each_filter(school: httpx.Client, query: dict[str, Any], ids: list[int]) -> None:
    page = read(school, "/api/v1/payments", **query)

    assert [one["id"] for one in page["items"]] == ids
    assert page["next_cursor"] is None


def test_a_payment_shows_its_objects_events_and_other_payments(school: httpx.Client) -> None:
    payment = read(school, "/api/v1/payments/1", "/api/v1/payments/{payment_id}")

    assert [(one["object_id"], one["state"], one["amount_minor"]) for one in payment["refunds"]] == [
        ("re_1", "pending", 100)
    ]
    assert [one["object_id"] for one in payment["fees"]] == ["fee_1"]
    assert [one["state"] for one in payment["events"]] == ["quarantined"]
    assert payment["other_payment_ids"] == [2]
    assert payment["notes"]


def test_a_wallet_is_a_statement_with_a_running_balance(school: httpx.Client, database: Database) -> None:
    # Given two movements of a user's wallet, the first of them yesterday
    database.execute("INSERT INTO users (id) VALUES (70)")
    database.execute(
        """
        WITH wallet AS (INSERT INTO ledger_accounts (kind, user_id) VALUES ('user_wallet', 70) RETURNING id),
        other AS (INSERT INTO ledger_accounts (kind, provider) VALUES ('psp_clearing', 'test') RETURNING id),
        posting AS (INSERT INTO ledger_transactions (kind, created_at)
            VALUES ('payment', now() - interval '1 day'), ('refund', now()) RETURNING id, kind)
        INSERT INTO ledger_entries (transaction_id, account_id, amount_minor, currency)
        SELECT posting.id, account.id, sign * CASE kind WHEN 'payment' THEN 500 ELSE -200 END, 'DZD'
        FROM posting, (SELECT id, 1 AS sign FROM wallet UNION ALL SELECT id, -1 FROM other) AS account
        ORDER BY posting.id
        """
    )
    database.execute("UPDATE users SET balance_minor = 300 WHERE id = 70")
    path, documented = "/api/v1/users/70/wallet", "/api/v1/users/{user_id}/wallet"

    now = read(school, path, documented)
    earlier = read(school, path, documented, at=now["entries"][1]["at"])

    assert [(one["amount_minor"], one["balance_minor"]) for one in now["entries"]] == [(-200, 300), (500, 500)]
    assert (now["balance_minor"], now["currency"], now["at"]) == (300, "DZD", None)
    assert (earlier["balance_minor"], len(earlier["entries"])) == (500, 1)


def test_a_subscription_that_is_not_active_says_why(school: httpx.Client, database: Database) -> None:
    database.execute("INSERT INTO users (id) VALUES (72)")
    database.execute("INSERT INTO subscriptions (user_id, amount_minor) VALUES (72, 300000)")

    found = read(school, "/api/v1/users/72/subscriptions", "/api/v1/users/{user_id}/subscriptions")

    assert [(one["is_active"], one["amount_minor"]) for one in found["items"]] == [(False, 300000)]
    assert "missing" in found["items"][0]["reason"]


def test_operators_lists_are_shown(school: httpx.Client) -> None:
    event = read(school, "/api/v1/webhook-events", state="undecided")["items"][0]
    letter = read(school, "/api/v1/dead-letters", queue="videos")["items"][0]
    act = read(school, "/api/v1/operator-acts", what="dead.replay")["items"][0]

    assert (event["reason"], letter["cause"], act["who"]) == ("another amount", "retries", "amina")
    shown = read(school, f"/api/v1/webhook-events/{event['id']}", "/api/v1/webhook-events/{event_id}")
    assert shown["steps"][0]["what"] == "received"
    assert read(school, f"/api/v1/dead-letters/{letter['id']}", "/api/v1/dead-letters/{letter_id}")["queue"] == "videos"


def test_pages_repeat_and_miss_no_payment_while_others_are_added(school: httpx.Client, database: Database) -> None:
    # Given thirty payments of a user, and more that are added while they are read
    database.execute("INSERT INTO users (id) VALUES (71)")
    insert = (
        "INSERT INTO payments (provider, user_id, amount_minor) SELECT 'generic', 71, 100 FROM generate_series(1, %s)"
    )
    database.execute(insert, 30)
    before = {row[0] for row in database.rows("SELECT id FROM payments WHERE user_id = 71")}
    stopping = threading.Event()

    def add() -> None:
        while not stopping.is_set():
            database.execute(insert, 3)

    adding = threading.Thread(target=add)
    adding.start()

    # When the pages are read one after the other
    seen: list[int] = []
    cursor: dict[str, Any] = {}
    try:
        while cursor is not None:
            page = read(school, "/api/v1/payments", user_id=71, limit=7, **cursor)
            seen += [one["id"] for one in page["items"]]
            cursor = {"cursor": page["next_cursor"]} if page["next_cursor"] else None  # type: ignore[assignment]
    finally:
        stopping.set()
        adding.join()

    # Then each of them is seen once, the newest first
    assert seen == sorted(set(seen), reverse=True)
    assert before <= set(seen)


@pytest.mark.parametrize(
    "path", ["/api/v1/payments/2", "/api/v1/users/8/wallet", "/api/v1/users/7/subscriptions", "/api/v1/courses/7/video"]
)
def test_a_client_that_has_the_newest_answer_gets_304(school: httpx.Client, path: str) -> None:
    first = school.get(path)
    again = school.get(path, headers={"If-None-Match": first.headers["ETag"]})
    other = school.get(path, headers={"If-None-Match": '"another"'})

    assert not first.headers["ETag"].startswith("W/")
    assert (first.status_code, again.status_code, other.status_code) == (200, 304, 200)
    assert again.content == b""


def test_a_changed_payment_has_another_etag(school: httpx.Client, database: Database) -> None:
    tag = school.get("/api/v1/payments/3").headers["ETag"]

    database.execute("UPDATE payments SET failure_reason = 'too late' WHERE id = 3")

    assert school.get("/api/v1/payments/3", headers={"If-None-Match": tag}).status_code == 200
