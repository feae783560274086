"""Stripe: JSON events, signed together with their time; every event of one payment meets on its payment intent."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from services.webhook_gateway.errors import CheckoutRefusedError, InvalidSignatureError, UnreadableEventError
from services.webhook_gateway.providers import fields, signatures, stripe_answers, stripe_events
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
from services.webhook_gateway.providers.http_client import WITHIN_REQUEST_SECONDS
from services.webhook_gateway.providers.settings import ProviderSettings, plain

if TYPE_CHECKING:
    from services.webhook_gateway.providers.stripe_api import StripeApi

_PENDING_WEBHOOKS: Final = re.compile(rb'("pending_webhooks"\s*:\s*)[0-9]+')
#: A part of a notice that one kind of object reports; the rest is the same for all.
Part = Mapping[str, Any]


class Stripe:
    """Amounts are in the currency's minor unit already, whether it has two, three or no decimals."""

    name = "stripe"
    methods = frozenset({"POST"})
    kept_headers: frozenset[str] = frozenset()

    def __init__(
        self, secrets: Sequence[str], now: Clock = lambda: datetime.now(UTC), account: str | None = None
    ) -> None:
        # the whole text is the key, its whsec_ included; unlike Standard Webhooks nothing is decoded
        self._secrets = [secret.encode() for secret in secrets]
        self._now = now
        self._account = account

    @classmethod
    def build(cls, settings: ProviderSettings, now: Clock) -> "Stripe | None":
        """The adapter that the settings describe, or None where they leave it off."""
        secrets = plain(settings.stripe_secrets)
        if not secrets:
            return None
        key = settings.stripe_api_key
        if key is None:
            return cls(secrets, now, settings.stripe_account)
        return PollingStripe(secrets, now, settings.stripe_account, key.get_secret_value(), settings.stripe_base_url)

    def verify(self, request: Request) -> Proof:
        """`Stripe-Signature` is `t=<seconds>,v1=<HMAC of t.body>`, with a `v1` for each of the endpoint's secrets."""
        header = signatures.required_header(request.headers, "stripe-signature")
        pairs = [tuple(part.strip().partition("=")[::2]) for part in header.split(",")]
        times = [value for name, value in pairs if name == "t"]
        if len(times) != 1:
            raise InvalidSignatureError("The header stripe-signature must hold exactly one t=<seconds>.")
        signatures.require_fresh(times[0], self._now())
        # what is no digest beside one that is must not spoil it
        given = [signatures.sha256_from_hex(value) for name, value in pairs if name == "v1" and len(value) == 64]
        message = times[0].encode() + b"." + request.body
        return Proof(signed=True, secret=signatures.matching_secret(self._secrets, message, given))

    def without_count(self, body: bytes) -> bytes:
        """`pending_webhooks` is how many deliveries are left: another number in a retry or a resent event."""
        return _PENDING_WEBHOOKS.sub(rb"\1", body)

    def parse(self, request: Request) -> PaymentNotice:
        """One event; a kind that is nothing about money reports nothing about a payment (see `stripe_events`)."""
        if request.method == ANSWER:
            return stripe_answers.read_answer(request)
        event = fields.json_object(request.body)
        key = fields.identifier(event.get("id"), "id")
        kind = fields.identifier(event.get("type"), "type")
        parsed = stripe_events.read(kind, event)
        version = fields.loose_identifier(event.get("api_version"))
        if parsed is None:
            return PaymentNotice(key=key, kind=kind, api_version=version)
        if kind in stripe_events.READERS:
            # what moves no payer's money, a payout for example, is ignored whosever it is
            self._require_own_account(event)
        livemode = event.get("livemode")
        return PaymentNotice(
            key=key,
            kind=kind,
            mode=None if livemode is None else Mode.LIVE if livemode is True else Mode.TEST,
            occurred_at=fields.instant(event.get("created")),
            api_version=version,
            **parsed,
        )

    def _require_own_account(self, event: Mapping[str, Any]) -> None:
        """A Connect endpoint gets the events of every connected account: the money of others is not the school's."""
        account = fields.optional_identifier(event.get("account"), "account")
        if account != self._account:
            raise UnreadableEventError(
                f"of Stripe account {account or '(none)'}, and NOUBA_PSP_STRIPE_ACCOUNT is {self._account or '(none)'}"
            )


class PollingStripe(Stripe):
    """Stripe with a key of its API: it is asked about payments, also about those that are paid, and for refunds."""

    def __init__(self, secrets: Sequence[str], now: Clock, account: str | None, key: str, base_url: str) -> None:
        super().__init__(secrets, now, account)
        self._key, self._base_url = key, base_url

    def enquire(self, reference: str) -> ProviderReply | None:
        """The payment as Stripe has it now, with its refunds, disputes and fees."""
        return self._api.enquire(reference)

    def refund(self, reference: str, amount_minor: int, key: str) -> ProviderReply:
        """Begin a refund; one only of all that have the same `key`."""
        return self._api.refund(reference, amount_minor, key)

    def check_order(self, order: CheckoutOrder) -> None:
        """Stripe's own minimum depends on the currency, and is Stripe's to refuse."""
        if order.amount_minor == 0:
            raise CheckoutRefusedError("amount_minor: 1 at least.")

    def create_checkout(self, order: CheckoutOrder) -> ProviderCheckout:
        """A Checkout Session; its payment intent is made when the payer pays, and names the order."""
        return self._api_of_requests.create_checkout(order)

    @cached_property
    def _api_of_requests(self) -> "StripeApi":
        from services.webhook_gateway.providers.stripe_api import StripeApi

        return StripeApi(self._key, self._base_url, self._account, self._now, WITHIN_REQUEST_SECONDS)

    @cached_property
    def _api(self) -> "StripeApi":
        # here and not at the top: only workers ask, and the library is large
        from services.webhook_gateway.providers.stripe_api import StripeApi

        return StripeApi(self._key, self._base_url, self._account, self._now)
