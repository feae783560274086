"""Chargily Pay V2: JSON, signed with the merchant's own API secret key, amounts in whole dinars."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Self

from services.webhook_gateway.errors import Unreadable
from services.webhook_gateway.payments.states import Stage
from services.webhook_gateway.psps import fields, signatures
from services.webhook_gateway.psps.base import Clock, Mode, Notice, Proof, Request
from services.webhook_gateway.psps.settings import PspSettings, plain

#: The events that dev.chargily.com documents; there is none for a refund.
STAGES: Final[Mapping[str, Stage]] = {
    "checkout.paid": Stage.COMPLETED,
    "checkout.failed": Stage.FAILED,
    "checkout.canceled": Stage.CANCELED,
    "checkout.expired": Stage.EXPIRED,
}
CENTIMES_PER_DINAR: Final = 100


class Chargily:
    """Nothing in a Chargily signature says when it was made, so a replay is stopped by the event's id alone."""

    name = "chargily"
    methods = frozenset({"POST"})
    kept_headers: frozenset[str] = frozenset()

    def __init__(self, secrets: Sequence[str]) -> None:
        self._secrets = [secret.encode() for secret in secrets]
        self._modes = [_mode_of_key(secret) for secret in secrets]

    @classmethod
    def build(cls, settings: PspSettings, now: Clock) -> Self | None:
        """The adapter that the settings describe, or None where they leave it off."""
        return cls(secrets) if (secrets := plain(settings.chargily_secrets)) else None

    def verify(self, request: Request) -> Proof:
        """The header `signature` is the HMAC of the body; which mode's key made it tells the mode."""
        signature = signatures.sha256_from_hex(signatures.required_header(request.headers, "signature"))
        place = signatures.matching_secret(self._secrets, request.body, [signature])
        return Proof(signed=True, secret=place, mode=self._modes[place])

    def parse(self, request: Request) -> Notice:
        """One checkout event; an event of another kind tells nothing about a payment."""
        event = fields.json_object(request.body)
        key = fields.identifier(event.get("id"), "id")
        kind = fields.identifier(event.get("type"), "type")
        stage = STAGES.get(kind)
        if stage is None:
            return Notice(key=key, kind=kind)
        checkout = fields.section(event, "data")
        if stage is Stage.COMPLETED and checkout.get("status", "paid") != "paid":
            raise Unreadable("type says paid, data.status does not; find the checkout in Chargily's dashboard.")
        if fields.currency(checkout.get("currency") or "dzd") != "DZD":
            raise Unreadable("data.currency is not dzd, the one currency whose unit Chargily documents.")
        metadata = _metadata(checkout.get("metadata"))
        fee = checkout.get("fees_on_merchant")
        return Notice(
            key=key,
            kind=kind,
            reference=fields.identifier(checkout.get("id"), "data.id"),
            order_number=fields.loose_identifier(metadata.get("order_id")),
            user_id=fields.user_id(metadata.get("user_id")),
            stage=stage,
            amount_minor=fields.amount_minor(checkout.get("amount"), "data.amount", CENTIMES_PER_DINAR),
            fee_minor=None if fee is None else fields.amount_minor(fee, "data.fees_on_merchant", CENTIMES_PER_DINAR),
            currency="DZD",
            method=fields.description(checkout.get("payment_method")),
            mode=_livemode(event.get("livemode", checkout.get("livemode"))),
            occurred_at=fields.instant(event.get("created_at")),
        )


def _mode_of_key(secret: str) -> Mode | None:
    if secret.startswith("live_"):
        return Mode.LIVE
    return Mode.TEST if secret.startswith("test_") else None


def _livemode(value: Any) -> Mode | None:
    """The documentation has the text "false", a capture of a real delivery the boolean."""
    if value is None:
        return None
    word = value.lower() if isinstance(value, str) else value
    if word is True or word == "true":
        return Mode.LIVE
    if word is False or word == "false":
        return Mode.TEST
    raise Unreadable("livemode must be true or false.")


def _metadata(value: Any) -> dict[Any, Any]:
    """What the merchant attached; it goes in as pairs and may come back as pairs, as an object or as neither."""
    if isinstance(value, list):
        return {
            pair["key"]: pair.get("value")
            for pair in value
            if isinstance(pair, dict) and isinstance(pair.get("key"), str)
        }
    return value if isinstance(value, dict) else {}
