"""A known provider's event that concerns money and is not understood is put aside, and never passed over."""

import json

import pytest

from services.webhook_gateway.errors import UnreadableEventError
from services.webhook_gateway.providers.base import Provider, Request
from services.webhook_gateway.providers.chargily.webhooks import Chargily
from services.webhook_gateway.providers.standard_webhooks import StandardWebhooks

CHARGILY = Chargily(["test_sk_kinds"])
STANDARD = StandardWebhooks(["whsec_a2luZHM="])


def parse(psp: Provider, kind: str) -> str | None:
    body = json.dumps({"id": "e1", "type": kind, "timestamp": "2026-01-01T00:00:00Z", "data": {"id": "x"}})
    return psp.parse(Request("POST", {"webhook-id": "e1"}, body.encode())).reference


@pytest.mark.parametrize(
    ("psp", "kind"),
    [
        *((CHARGILY, kind) for kind in ("checkout.refunded", "checkout.disputed", "refund.created", "charge.back")),
        *((STANDARD, kind) for kind in ("refund.created", "dispute.opened", "charge.refunded", "payment.disputed")),
    ],
    ids=str,
)
def test_what_concerns_money_is_put_aside(psp: Provider, kind: str) -> None:
    with pytest.raises(UnreadableEventError):
        parse(psp, kind)


@pytest.mark.parametrize(
    ("psp", "kind"),
    [(CHARGILY, "payout.paid"), (CHARGILY, "customer.created"), (STANDARD, "contact.created")],
    ids=str,
)
def test_what_does_not_is_nothing_about_a_payment(psp: Provider, kind: str) -> None:
    assert parse(psp, kind) is None
