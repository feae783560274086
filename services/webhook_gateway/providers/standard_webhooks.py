"""Standard Webhooks, with headers `webhook-*` or Svix' `svix-*`: id, time and body signed, fresh for five minutes."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Self

from services.webhook_gateway.errors import InvalidSignatureError, NotReadyError, UnreadableEventError
from services.webhook_gateway.providers import fields, generic_payload, signatures
from services.webhook_gateway.providers.base import Clock, PaymentNotice, Proof, Request
from services.webhook_gateway.providers.settings import ProviderSettings, plain

#: The beginnings of other kinds that concern a payer's money.
_MONEY: Final = ("charge.", "chargeback.", "checkout.", "dispute.", "refund.")
_KIND_PREFIX: Final = "payment."
#: An id with a full stop could be shifted into the time or the body without changing the signed bytes.
_ID = re.compile(r"[!-\-/-~]{1,200}")


class StandardWebhooks:
    """As the specification has it: several signatures separated by spaces, of which any `v1` may match."""

    name = "standard_webhooks"
    methods = frozenset({"POST"})
    kept_headers = frozenset({"webhook-id", "svix-id"})

    def __init__(self, secrets: Sequence[str], now: Clock = lambda: datetime.now(UTC)) -> None:
        self._secrets = [_key(secret) for secret in secrets]
        self._now = now

    @classmethod
    def build(cls, settings: ProviderSettings, now: Clock) -> Self | None:
        """The adapter that the settings describe, or None where they leave it off."""
        return cls(secrets, now) if (secrets := plain(settings.standard_webhooks_secrets)) else None

    def verify(self, request: Request) -> Proof:
        """`webhook-signature` holds the HMAC of `id.timestamp.body`, and the timestamp is now."""
        prefix = _prefix(request.headers)
        message_id = signatures.required_header(request.headers, f"{prefix}-id")
        if not _ID.fullmatch(message_id):
            raise InvalidSignatureError(
                f"The header {prefix}-id must be 1 to 200 plain characters without a full stop."
            )
        timestamp = signatures.required_header(request.headers, f"{prefix}-timestamp")
        signatures.require_fresh(timestamp, self._now())
        message = f"{message_id}.{timestamp}.".encode() + request.body
        given = signatures.required_header(request.headers, f"{prefix}-signature").split(" ")
        decoded = (signatures.bytes_from_base64(one[len("v1,") :]) for one in given if one.startswith("v1,"))
        candidates = [signature for signature in decoded if signature]
        return Proof(signed=True, secret=signatures.matching_secret(self._secrets, message, candidates))

    def parse(self, request: Request) -> PaymentNotice:
        """An event `payment.<status>`; one of any other type reports nothing about a payment."""
        key = fields.identifier(request.headers.get(f"{_prefix(request.headers)}-id"), "webhook-id")
        body = fields.json_object(request.body)
        kind = fields.identifier(body.get("type"), "type")
        if kind.startswith(_MONEY):
            raise UnreadableEventError(f"{kind[:80]} concerns money, and only payment.<status> is understood.")
        if not kind.startswith(_KIND_PREFIX):
            return PaymentNotice(key=key, kind=kind)
        parsed: dict[str, Any] = generic_payload.read(
            fields.section(body, "data"), generic_payload.status_word(kind.removeprefix(_KIND_PREFIX))
        )._asdict()
        return PaymentNotice(key=key, kind=kind, occurred_at=fields.instant(body.get("timestamp")), **parsed)


def _prefix(headers: Mapping[str, str]) -> str:
    """Which of the two sets of header names the sender uses; of a request with both, only `webhook-*` are read."""
    return "svix" if "svix-id" in headers and "webhook-id" not in headers else "webhook"


def _key(secret: str) -> bytes:
    key = signatures.bytes_from_base64(secret.removeprefix("whsec_"))
    if not key:
        raise NotReadyError(
            "NOUBA_PSP_STANDARD_WEBHOOKS_SECRETS holds a secret that is not base64; copy it whole, with its whsec_."
        )
    return key
