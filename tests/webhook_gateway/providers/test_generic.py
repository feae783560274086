"""The key of an event of `generic` without an `event_id`: a failed refund is a smaller total."""

import json

from services.webhook_gateway.providers.base import Request
from services.webhook_gateway.providers.generic import Generic


def key(**given: object) -> str:
    body = {"transaction_id": "t-1", "amount": 5000, "currency": "DZD", "status": "refunded", **given}
    return Generic(["x"]).parse(Request("POST", {}, json.dumps(body).encode())).key


def test_a_total_that_comes_back_at_another_time_is_another_event() -> None:
    first, again = "2026-03-01T09:00:00Z", "2026-03-01T11:00:00Z"
    assert len({key(occurred_at=first), key(occurred_at=again), key(amount=0, occurred_at=first), key()}) == 4


def test_the_same_moment_in_another_zone_is_the_same_event() -> None:
    assert key(occurred_at="2026-03-01T09:00:00Z") == key(occurred_at="2026-03-01T10:00:00+01:00")


def test_a_collection_is_one_event_at_any_time() -> None:
    assert key(status="completed", occurred_at="2026-03-01T09:00:00Z") == key(status="completed")
