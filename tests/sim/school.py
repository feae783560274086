"""What one interleaving is about: students, what they paid, the webhooks about it, and what must come of it.

The reckoning is plain arithmetic over what the provider did, and uses nothing of the code.
"""

import hashlib
import hmac
import json
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from services.webhook_gateway.providers.base import Request

SECRET = "sim-secret-sim-secret-sim-secret"
PROVIDER = "generic"
#: What becomes of a payment, in the provider's order; most are simply paid.
STORIES = (
    ("completed",),
    ("completed",),
    ("completed",),
    ("failed", "completed"),
    ("pending", "completed"),
    ("completed", "refunded"),
    ("completed", "refunded", "refunded"),
)
#: One price for all, so that any two payments pay for a subscription.
PRICE = 300


@dataclass(frozen=True, slots=True)
class Webhook:
    """One event of the provider, whose deliveries all have the same bytes; `key` is its id."""

    key: str
    body: bytes

    @property
    def request(self) -> Request:
        signature = hmac.new(SECRET.encode(), self.body, hashlib.sha256).hexdigest()
        return Request("POST", {"x-signature": signature}, self.body)


@dataclass(slots=True)
class Payment:
    """What the provider did with one payment, in its order."""

    reference: str
    user_id: int
    amount_minor: int
    refunded_minor: int = 0
    webhooks: list[Webhook] = field(default_factory=list)

    @property
    def left_minor(self) -> int:
        return self.amount_minor - self.refunded_minor


@dataclass(slots=True)
class School:
    """The students and their payments; `users` names the price of the subscription that waits, if one does."""

    users: dict[int, int | None]
    payments: list[Payment]

    @property
    def webhooks(self) -> list[Webhook]:
        return [webhook for payment in self.payments for webhook in payment.webhooks]

    def paid_minor(self, user_id: int) -> int:
        """All that a student has paid and did not get back."""
        return sum(payment.left_minor for payment in self.payments if payment.user_id == user_id)

    def is_surely_active(self, user_id: int) -> bool | None:
        """Whether the subscription runs in the end; None where that depends on the order, because money went back."""
        if any(payment.refunded_minor for payment in self.payments if payment.user_id == user_id):
            return None
        return self.paid_minor(user_id) >= PRICE


def make_school(chance: random.Random, first_user: int) -> School:
    """One or two students with up to three payments between them."""
    users = {first_user + number: chance.choice((None, PRICE, PRICE)) for number in range(chance.choice((1, 1, 2)))}
    payments = [
        _payment(chance, f"r{first_user}-{number}", chance.choice(list(users)))
        for number in range(chance.choice((1, 2, 2, 3)))
    ]
    return School(users, payments)


def _payment(chance: random.Random, reference: str, user_id: int) -> Payment:
    payment = Payment(reference, user_id, chance.choice((100, 200, 200, 300)))
    at = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=10)
    statuses = chance.choice(STORIES)
    for number, status in enumerate(statuses):
        if status == "refunded":
            payment.refunded_minor = min(payment.amount_minor, payment.refunded_minor + 50)
        body: dict[str, Any] = {
            "event_id": f"{reference}-{number}",
            "transaction_id": reference,
            "status": status,
            "user_id": user_id,
            "amount": payment.refunded_minor if status == "refunded" else payment.amount_minor,
            "currency": "DZD",
            "occurred_at": (at + timedelta(seconds=number)).isoformat(),
        }
        payment.webhooks.append(Webhook(body["event_id"], json.dumps(body).encode()))
    return payment
