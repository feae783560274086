"""Stripe: JSON events, signed together with their time; every event of one payment meets on its payment intent."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Self

from services.webhook_gateway.errors import InvalidSignatureError, UnreadableEventError
from services.webhook_gateway.payments.payment_state import Dispute, Stage
from services.webhook_gateway.providers import fields, signatures
from services.webhook_gateway.providers.base import Clock, Mode, PaymentNotice, Proof, Request
from services.webhook_gateway.providers.settings import ProviderSettings, plain

#: A part of a notice that one kind of object tells; the rest is the same for all.
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
    def build(cls, settings: ProviderSettings, now: Clock) -> Self | None:
        """The adapter that the settings describe, or None where they leave it off."""
        secrets = plain(settings.stripe_secrets)
        return cls(secrets, now, settings.stripe_account) if secrets else None

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

    def parse(self, request: Request) -> PaymentNotice:
        """One event; a kind that is not listed in `READERS` tells nothing about a payment."""
        event = fields.json_object(request.body)
        key = fields.identifier(event.get("id"), "id")
        kind = fields.identifier(event.get("type"), "type")
        reader = READERS.get(kind)
        if reader is None:
            return PaymentNotice(key=key, kind=kind)
        self._require_own_account(event)
        thing = fields.section(fields.section(event, "data"), "object")
        livemode = event.get("livemode")
        return PaymentNotice(
            key=key,
            kind=kind,
            currency=fields.currency(thing.get("currency")),
            mode=None if livemode is None else Mode.LIVE if livemode is True else Mode.TEST,
            occurred_at=fields.instant(event.get("created")),
            **_payer(thing),
            **reader(thing),
        )

    def _require_own_account(self, event: Mapping[str, Any]) -> None:
        """A Connect endpoint gets the events of every connected account: the money of others is not the school's."""
        told = fields.optional_identifier(event.get("account"), "account")
        if told != self._account:
            raise UnreadableEventError(
                f"of Stripe account {told or '(none)'}, and NOUBA_PSP_STRIPE_ACCOUNT is {self._account or '(none)'}"
            )


def _intent(stage: Stage) -> Callable[[Mapping[str, Any]], Part]:
    def read(intent: Mapping[str, Any]) -> Part:
        # what was collected can be less than what was asked for
        received = intent.get("amount_received") if stage is Stage.COMPLETED else None
        error = intent.get("last_payment_error")
        return {
            "reference": fields.identifier(intent.get("id"), "data.object.id"),
            "stage": stage,
            "amount_minor": fields.amount_minor(intent.get("amount") if received is None else received, "amount"),
            "failure_reason": fields.description(
                error.get("message") if isinstance(error, dict) else intent.get("cancellation_reason")
            ),
        }

    return read


def _session(stage: Stage) -> Callable[[Mapping[str, Any]], Part]:
    def read(session: Mapping[str, Any]) -> Part:
        # a session without an intent collected nothing itself: a subscription's money is told by its charges
        intent = fields.optional_identifier(session.get("payment_intent"), "payment_intent")
        is_paid = stage is not Stage.COMPLETED or session.get("payment_status") == "paid"
        return {
            "reference": intent,
            "stage": stage if is_paid else Stage.PENDING,
            "amount_minor": fields.amount_minor(session.get("amount_total"), "amount_total") if intent else None,
        }

    return read


def _charge(charge: Mapping[str, Any]) -> Part:
    stage = {"failed": Stage.FAILED, "succeeded": Stage.COMPLETED}.get(str(charge.get("status")), Stage.PENDING)
    amount = fields.amount_minor(charge.get("amount"), "amount")
    refunded = fields.amount_minor(charge.get("amount_refunded", 0), "amount_refunded")
    if stage is Stage.COMPLETED and charge.get("captured") is False:
        # a hold that was given up, not money that was given back
        stage, refunded = (Stage.CANCELED if refunded else Stage.AUTHORIZED), 0
    captured = charge.get("amount_captured")
    if stage is Stage.COMPLETED and captured is not None:
        amount = fields.amount_minor(captured, "amount_captured")
    details = charge.get("payment_method_details")
    return {
        "reference": _intent_or(charge, charge.get("id")),
        "stage": stage,
        "amount_minor": amount,
        "refunded_minor": refunded,
        "method": fields.description(details.get("type")) if isinstance(details, dict) else None,
        "failure_reason": fields.description(charge.get("failure_message")),
    }


def _dispute(dispute: Mapping[str, Any]) -> Part:
    standings = {
        "needs_response": Dispute.OPEN,
        "under_review": Dispute.OPEN,
        "won": Dispute.WON,
        "lost": Dispute.LOST,
        # an inquiry takes no money
        "warning_needs_response": Dispute.NONE,
        "warning_under_review": Dispute.NONE,
        "warning_closed": Dispute.NONE,
        "prevented": Dispute.NONE,
    }
    status = dispute.get("status")
    if not isinstance(status, str) or status not in standings:
        raise UnreadableEventError(f"data.object.status must be one of {', '.join(standings)}.")
    # its amount is what is disputed, which can be less than the payment
    return {
        "reference": _intent_or(dispute, dispute.get("charge")),
        "dispute": standings[status],
        "failure_reason": fields.description(dispute.get("reason")),
    }


READERS: Final[Mapping[str, Callable[[Mapping[str, Any]], Part]]] = {
    "payment_intent.processing": _intent(Stage.PENDING),
    "payment_intent.amount_capturable_updated": _intent(Stage.AUTHORIZED),
    "payment_intent.succeeded": _intent(Stage.COMPLETED),
    "payment_intent.payment_failed": _intent(Stage.FAILED),
    "payment_intent.canceled": _intent(Stage.CANCELED),
    "checkout.session.completed": _session(Stage.COMPLETED),
    "checkout.session.async_payment_succeeded": _session(Stage.COMPLETED),
    "checkout.session.async_payment_failed": _session(Stage.FAILED),
    "checkout.session.expired": _session(Stage.EXPIRED),
    "charge.succeeded": _charge,
    "charge.captured": _charge,
    "charge.failed": _charge,
    "charge.refunded": _charge,
    "charge.dispute.created": _dispute,
    "charge.dispute.updated": _dispute,
    "charge.dispute.closed": _dispute,
}


def _payer(thing: Mapping[str, Any]) -> Part:
    told = thing.get("metadata")
    metadata = told if isinstance(told, dict) else {}
    ours = thing.get("client_reference_id")
    by_reference = fields.user_id(ours)
    return {
        "user_id": fields.user_id(metadata.get("user_id")) or by_reference,
        # a client reference that is no user can only be an order
        "order_number": fields.loose_identifier(metadata.get("order_id"))
        or (fields.loose_identifier(ours) if by_reference is None else None),
    }


def _intent_or(thing: Mapping[str, Any], other: Any) -> str:
    intent = fields.optional_identifier(thing.get("payment_intent"), "payment_intent")
    return intent or fields.identifier(other, "charge")
