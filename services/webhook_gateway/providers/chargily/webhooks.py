"""Chargily Pay V2: JSON, signed with the merchant's own API secret key, amounts in whole dinars."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Final, Self

from services.webhook_gateway.errors import CheckoutRefusedError, UnreadableEventError
from services.webhook_gateway.payments.payment_state import Stage
from services.webhook_gateway.providers import fields, signatures
from services.webhook_gateway.providers.base import (
    ANSWER,
    CheckoutOrder,
    Clock,
    Mode,
    PaymentNotice,
    Proof,
    ProviderCheckout,
    ProviderReply,
    Request,
)
from services.webhook_gateway.providers.chargily.checkouts import CENTIMES_PER_DINAR, CheckoutCalls
from services.webhook_gateway.providers.settings import ProviderSettings, plain

#: The events that dev.chargily.com documents; there is none for a refund.
STAGES: Final[Mapping[str, Stage]] = {
    "checkout.paid": Stage.COMPLETED,
    "checkout.failed": Stage.FAILED,
    "checkout.canceled": Stage.CANCELED,
    "checkout.expired": Stage.EXPIRED,
}
#: The beginnings of kinds that would concern a payer's money. A payout moves Chargily's balance to the school's bank.
MONEY: Final = ("charge", "checkout.", "dispute", "payment.", "refund")
#: The statuses of a checkout that is read back.
STATUSES: Final[Mapping[str, Stage]] = {
    "pending": Stage.PENDING,
    "processing": Stage.PENDING,
    **{kind.removeprefix("checkout."): stage for kind, stage in STAGES.items()},
}
BASE_URL: Final = "https://pay.chargily.net"


class Chargily:
    """Nothing in a Chargily signature says when it was made, so a replay is stopped by the event's id alone."""

    name = "chargily"
    methods = frozenset({"POST"})
    kept_headers: frozenset[str] = frozenset()

    def __init__(self, secrets: Sequence[str], base_url: str = BASE_URL) -> None:
        self._secrets = [secret.encode() for secret in secrets]
        self._modes = [_mode_of_key(secret) for secret in secrets]
        self._base_url = base_url

    @classmethod
    def build(cls, settings: ProviderSettings, now: Clock) -> Self | None:
        """The adapter that the settings describe, or None where they leave it off."""
        secrets = plain(settings.chargily_secrets)
        return cls(secrets, settings.chargily_base_url) if secrets else None

    def verify(self, request: Request) -> Proof:
        """The header `signature` is the HMAC of the body; which mode's key made it reports the mode."""
        signature = signatures.sha256_from_hex(signatures.required_header(request.headers, "signature"))
        place = signatures.matching_secret(self._secrets, request.body, [signature])
        return Proof(signed=True, secret=place, mode=self._modes[place])

    def parse(self, request: Request) -> PaymentNotice:
        """One checkout event; an event of another kind reports nothing about a payment."""
        if request.method == ANSWER:
            return _read_back(request.body)
        event = fields.json_object(request.body)
        key = fields.identifier(event.get("id"), "id")
        kind = fields.identifier(event.get("type"), "type")
        stage = STAGES.get(kind)
        if stage is None:
            if kind.startswith(MONEY):
                raise UnreadableEventError(f"{kind[:80]} concerns money, and Chargily documents no such event.")
            return PaymentNotice(key=key, kind=kind)
        checkout = fields.section(event, "data")
        if stage is Stage.COMPLETED and checkout.get("status", "paid") != "paid":
            raise UnreadableEventError(
                "type says paid, data.status does not; find the checkout in Chargily's dashboard."
            )
        notice = _notice(key, kind, stage, checkout)
        mode = _livemode(event.get("livemode", checkout.get("livemode")))
        return replace(notice, mode=mode, occurred_at=fields.instant(event.get("created_at")))

    def enquire(self, reference: str) -> ProviderReply | None:
        """The checkout as Chargily has it now."""
        return self._checkouts.enquire(reference)

    def check_order(self, order: CheckoutOrder) -> None:
        """Chargily takes whole dinars alone."""
        if order.currency != "DZD" or order.amount_minor % CENTIMES_PER_DINAR or order.amount_minor == 0:
            raise CheckoutRefusedError("Chargily takes whole dinars (DZD): amount_minor has to be a multiple of 100.")

    def create_checkout(self, order: CheckoutOrder) -> ProviderCheckout:
        """A checkout, whose id is the payment's reference."""
        return self._checkouts.create(order)

    @cached_property
    def _checkouts(self) -> CheckoutCalls:
        # made where it is first used, after the process forked: only workers ask
        keys = [secret.decode() for secret in self._secrets]
        return CheckoutCalls(self._base_url, list(zip(keys, self._modes, strict=True)))


def _read_back(body: bytes) -> PaymentNotice:
    """What a checkout that was read back reports. It has no event's id: the status is what can repeat."""
    checkout = fields.json_object(body)
    reference = fields.identifier(checkout.get("id"), "id")
    stage = STATUSES.get(status := fields.identifier(checkout.get("status"), "status"))
    if stage is None:
        raise UnreadableEventError("status is none of a checkout's; find the checkout in Chargily's dashboard.")
    notice = _notice(f"answer:{reference}:{status}:{checkout.get('amount')}", "answer", stage, checkout)
    mode = _livemode(checkout.get("livemode"))
    return replace(notice, mode=mode, occurred_at=fields.instant(checkout.get("updated_at")))


def _notice(key: str, kind: str, stage: Stage, checkout: Mapping[str, Any]) -> PaymentNotice:
    """What a checkout reports, wherever it was found; `data` is its name in an event."""
    if fields.currency(checkout.get("currency") or "dzd") != "DZD":
        raise UnreadableEventError("data.currency is not dzd, the one currency whose unit Chargily documents.")
    metadata = _metadata(checkout.get("metadata"))
    fee = checkout.get("fees_on_merchant")
    return PaymentNotice(
        key=key,
        kind=kind,
        reference=fields.identifier(checkout.get("id"), "data.id"),
        order_number=fields.loose_identifier(metadata.get("order_id")),
        user_id=fields.user_id(metadata.get("user_id")),
        subscription_id=fields.user_id(metadata.get("subscription_id")),
        stage=stage,
        amount_minor=fields.amount_minor(checkout.get("amount"), "data.amount", CENTIMES_PER_DINAR),
        fee_minor=None if fee is None else fields.amount_minor(fee, "data.fees_on_merchant", CENTIMES_PER_DINAR),
        currency="DZD",
        method=fields.description(checkout.get("payment_method")),
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
    raise UnreadableEventError("livemode must be true or false.")


def _metadata(value: Any) -> dict[Any, Any]:
    """What the merchant attached; it goes in as pairs and may come back as pairs, as an object or as neither."""
    if isinstance(value, list):
        return {
            pair["key"]: pair.get("value")
            for pair in value
            if isinstance(pair, dict) and isinstance(pair.get("key"), str)
        }
    return value if isinstance(value, dict) else {}
