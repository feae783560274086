"""Builds the requests that payment providers send, signed as they sign; knows nothing of the gateway's own code.

`signed` is the whole of it; `tampered` and `late` make of a genuine request one that must be refused.
"""

import base64
import hashlib
import hmac
import json
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import urlencode

from local.psp.bodies import BODIES, WORDS, Payment, digest

__all__ = ["PROVIDERS", "WORDS", "Delivery", "Payment", "late", "sign", "signed", "tampered"]

PROVIDERS: Final = tuple(WORDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One HTTP request, ready to be sent to the gateway: `path` begins with a slash and has the query in it."""

    provider: str
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


def signed(
    provider: str,
    secrets: Sequence[str],
    payment: Payment,
    what: str = "paid",
    *,
    at: datetime | None = None,
    occurred_at: datetime | None = None,
    event_id: str | None = None,
    header: str = "X-Signature",
    contradict: str | None = None,
) -> Delivery:
    """The event `what` (see `WORDS`) of `payment`, as `provider` sends it, signed `at` with the first of `secrets`.

    The same arguments give the same bytes; `event_id` defaults to one made of the payment and `what`, and `occurred_at`
    to `at`. `contradict` is a field whose number the body has a second time, with another value.
    For satim and cib: a browser's return where there are no secrets, else a callback with an HMAC checksum.
    `header` is where the generic provider's signature goes.
    """
    if what not in WORDS[provider]:
        raise ValueError(f"{provider} does not send {what!r}; it sends {', '.join(WORDS[provider])}.")
    at = at or datetime.now(UTC)
    if provider in ("satim", "cib"):
        query = _bank_query(secrets, payment, what)
        return Delivery(provider=provider, method="GET", path=f"/webhooks/{provider}?{query}", headers={}, body=b"")
    # an expanded event, or one of another version, is the same event in another form
    amounts = (payment.amount_minor, payment.refunded_minor, payment.captured_minor, payment.disputed_minor)
    event_id = event_id or f"evt_{digest(payment.reference, what, *map(str, amounts))}"
    body = json.dumps(BODIES[provider](payment, what, event_id, occurred_at or at), separators=(",", ":")).encode()
    if contradict:
        body = re.sub(f'("{re.escape(contradict)}"):([0-9]+)'.encode(), rb"\1:\2,\1:\g<2>1", body)
    if provider == "chargily":
        body = body.replace(b"/", rb"\/")  # as PHP writes it, and as deliveries were seen
    headers = {"Content-Type": "application/json", **sign(provider, secrets[0], body, at, event_id, header)}
    return Delivery(provider=provider, method="POST", path=f"/webhooks/{provider}", headers=headers, body=body)


def sign(
    provider: str, secret: str, body: bytes, at: datetime, event_id: str = "evt_1", header: str = "X-Signature"
) -> dict[str, str]:
    """The headers that prove `body`, whatever it holds. For satim and cib, whose proof is in the query, none."""
    seconds = str(int(at.timestamp()))
    match provider:
        case "chargily":
            return {"signature": _hex(secret.encode(), body)}
        case "generic":
            return {header: _hex(secret.encode(), body)}
        case "stripe":
            v1 = _hex(secret.encode(), f"{seconds}.".encode() + body)
            return {"Stripe-Signature": f"t={seconds},v1={v1}"}
        case "standard_webhooks":
            key = base64.b64decode(secret.removeprefix("whsec_"))
            digest_bytes = hmac.digest(key, f"{event_id}.{seconds}.".encode() + body, "sha256")
            return {
                "webhook-id": event_id,
                "webhook-timestamp": seconds,
                "webhook-signature": f"v1,{base64.b64encode(digest_bytes).decode()}",
            }
        case _:
            return {}


def checksum(key: str, parameters: Mapping[str, str]) -> str:
    """The symmetric checksum that a bank adds to a callback's parameters."""
    signed_string = "".join(f"{name};{parameters[name]};" for name in sorted(parameters))
    return _hex(key.encode(), signed_string.encode()).upper()


def tampered(delivery: Delivery, source: random.Random) -> Delivery:
    """The delivery with one bit changed: in its body, or in the checksum of a bank's query."""
    if delivery.body:
        changed = bytearray(delivery.body)
        changed[source.randrange(len(changed))] ^= 1 << source.randrange(7)
        return replace(delivery, body=bytes(changed))
    if "checksum=" in delivery.path:
        swapped = "0" if delivery.path[-1] != "0" else "1"
        return replace(delivery, path=delivery.path[:-1] + swapped)
    # nothing to break in a return that nobody signed; one that names two orders must be refused too
    return replace(delivery, path=delivery.path + "&orderId=another")


def late(
    provider: str,
    secrets: Sequence[str],
    payment: Payment,
    what: str = "paid",
    *,
    at: datetime | None = None,
    header: str = "X-Signature",
) -> Delivery:
    """A genuine request, ten minutes after it was signed; only a provider that signs the time detects it."""
    signed_at = (at or datetime.now(UTC)) - timedelta(minutes=10)
    return signed(provider, secrets, payment, what, at=signed_at, header=header)


def _hex(key: bytes, message: bytes) -> str:
    return hmac.new(key, message, hashlib.sha256).hexdigest()


def _bank_query(secrets: Sequence[str], payment: Payment, what: str) -> str:
    if not secrets:
        return urlencode({"orderId": payment.reference})
    operation, status = {"paid": ("deposited", "1"), "failed": ("deposited", "0")}.get(what, ("declinedByTimeout", "1"))
    parameters = {"mdOrder": payment.reference, "operation": operation, "status": status}
    if payment.order_number:
        parameters["orderNumber"] = payment.order_number
    return urlencode({**parameters, "checksum": checksum(secrets[0], parameters)})
