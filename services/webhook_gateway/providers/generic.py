"""Any sender that can make an HMAC-SHA256 of a body in our own form and put it in a header of our choice."""

from collections.abc import Sequence
from datetime import datetime
from typing import Self

from services.webhook_gateway.providers import fields, generic_payload, signatures
from services.webhook_gateway.providers.base import Clock, PaymentNotice, Proof, Request
from services.webhook_gateway.providers.settings import ProviderSettings, plain


class Generic:
    """The simplest thing that is safe: a JSON body and its HMAC in hexadecimal, bare or after `sha256=`."""

    name = "generic"
    methods = frozenset({"POST"})
    kept_headers: frozenset[str] = frozenset()

    def __init__(self, secrets: Sequence[str], header: str = "X-Signature") -> None:
        self._secrets = [secret.encode() for secret in secrets]
        self._header = header.lower()

    @classmethod
    def build(cls, settings: ProviderSettings, now: Clock) -> Self | None:
        """The adapter that the settings describe, or None where they leave it off."""
        return cls(secrets, settings.generic_header) if (secrets := plain(settings.generic_secrets)) else None

    def verify(self, request: Request) -> Proof:
        """The header is the HMAC of the body."""
        value = signatures.required_header(request.headers, self._header)
        signature = signatures.sha256_from_hex(value.removeprefix("sha256="))
        return Proof(signed=True, secret=signatures.matching_secret(self._secrets, request.body, [signature]))

    def parse(self, request: Request) -> PaymentNotice:
        """One status of one transaction. Without an event_id, the same status of it again is the same event.

        A refund has all that was given back so far, so another total, or the same at another time, is another event.
        """
        body = fields.json_object(request.body)
        status = generic_payload.status_word(body.get("status"))
        parsed = generic_payload.read(body, status)
        event_id = fields.optional_identifier(body.get("event_id"), "event_id")
        occurred_at = fields.instant(body.get("occurred_at"))
        return PaymentNotice(
            key=event_id or fields.identifier(_key(parsed, status, occurred_at), "transaction_id with its status"),
            kind=status,
            occurred_at=occurred_at,
            **parsed._asdict(),
        )


def _key(parsed: generic_payload.ParsedPayload, status: str, occurred_at: datetime | None) -> str:
    total = f":{parsed.refunded_minor}" if parsed.refunded_minor else ""
    # a total that went down can come back to what it was
    at = f":{int(occurred_at.timestamp())}" if status == generic_payload.REFUNDED and occurred_at else ""
    return f"{parsed.reference}:{status}{total}{at}"
