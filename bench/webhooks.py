"""Signed webhooks of the generic provider, each of a payment of its own, as bytes ready to be sent."""

import json
import uuid
from contextlib import closing
from datetime import UTC, datetime

import psycopg2

from bench.load import request
from local.psp.signed_webhooks import sign

SECRET = "generic-bench"  # noqa: S105
SETTINGS = {"NOUBA_PSP_GENERIC_SECRETS": SECRET}
BODY_BYTES = 1024
AMOUNT_MINOR = 250_000


def make(count: int, users: int = 1) -> list[bytes]:
    """`count` requests of 1 KiB each, for the users 1 to `users` in turn."""
    return [_one(number % users + 1) for number in range(count)]


def all_sent(database_url: str) -> bool:
    """Whether the outbox is empty."""
    with closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT NOT EXISTS (SELECT FROM outbox)")
        (empty,) = cursor.fetchone() or (False,)
    return bool(empty)


def _one(user_id: int) -> bytes:
    payload = {
        "transaction_id": f"tr_{uuid.uuid4().hex}",
        "amount": AMOUNT_MINOR,
        "currency": "DZD",
        "status": "completed",
        "user_id": user_id,
        "note": "",
    }
    payload["note"] = "x" * (BODY_BYTES - len(json.dumps(payload)))
    body = json.dumps(payload).encode()
    headers = {"Content-Type": "application/json", **sign("generic", SECRET, body, datetime.now(UTC))}
    return request("POST", "/webhooks/generic", headers, body)
