"""A known provider's event that concerns money and is not understood is put aside, and never passed over."""

import json

import pytest

from services.webhook_gateway.errors import UnreadableEventError
from services.webhook_gateway.providers.base import Provider, Request
from services.webhook_gateway.providers.chargily.webhooks import Chargily
from services.webhook_gateway.providers.standard_webhooks import StandardWebhooks

PROVIDERS: dict[str, Provider] = {
    "chargily": Chargily(["test_sk_kinds"]),
    "standard_webhooks": StandardWebhooks(["whsec_a2luZHM="]),
}


def parse(psp: str, kind: str) -> str | None:
    body = json.dumps({"id": "e1", "type": kind, "timestamp": "2026-01-01T00:00:00Z", "data": {"id": "x"}})
    return PROVIDERS[psp].parse(Request("POST", {"webhook-id": "e1"}, body.encode())).reference


@pytest.mark.parametrize(
    ("psp", "kind"),
    [
        *(("chargily", kind) for kind in ("checkout.refunded", "checkout.disputed", "refund.created", "charge.back")),
        *(
            ("standard_webhooks", kind)
            for kind in ("refund.created", "dispute.opened", "charge.refunded", "payment.disputed")
        ),
    ],
)
def test_what_concerns_money_is_put_aside(psp: str, kind: str) -> None:
    with pytest.raises(UnreadableEventError):
        parse(psp, kind)


@pytest.mark.parametrize(
    ("psp", "kind"),
    [("chargily", "payout.paid"), ("chargily", "customer.created"), ("standard_webhooks", "contact.created")],
)
def test_what_does_not_is_nothing_about_a_payment(psp: str, kind: str) -> None:
    assert parse(psp, kind) is None
