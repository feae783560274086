"""What Stripe's answer to a question says about a payment, by the same readers that read its events.

An answer holds the payment intent (or the charge) with all of its refunds and disputes, or the one refund that was
begun. It is reported at the time of the question: nothing in it says when each object changed.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from services.webhook_gateway.errors import UnreadableEventError
from services.webhook_gateway.payments.payment_state import Stage
from services.webhook_gateway.providers import fields, stripe_events
from services.webhook_gateway.providers.base import ASKED_AT, Mode, PaymentNotice, Request

#: What an intent's status says, as the event that reports the same. One that was declined may still be paid.
_INTENT_KINDS: Final = {
    "succeeded": "payment_intent.succeeded",
    "requires_capture": "payment_intent.amount_capturable_updated",
    "canceled": "payment_intent.canceled",
}
_PENDING: Final = "payment_intent.processing"
_CHARGE: Final = "charge.updated"
_REFUND: Final = "refund.updated"
_DISPUTE: Final = "charge.dispute.updated"
#: What a checkout session's status says, as the event that reports the same.
_SESSION_KINDS: Final = {"expired": "checkout.session.expired"}
_OPEN_SESSION: Final = "checkout.session.completed"


def read_answer(request: Request) -> PaymentNotice:
    """What the answer reports. Raises UnreadableEventError where it does not have the form of `stripe_api`."""
    answer = fields.json_object(request.body)
    asked_at = fields.instant(int(request.headers[ASKED_AT]))
    if isinstance(answer.get("refund"), dict):
        refund = answer["refund"]
        parsed = _read(_REFUND, refund, asked_at)
        return _notice(parsed, refund, occurred_at=asked_at)
    if isinstance(answer.get("session"), dict) and not isinstance(answer.get("payment"), dict):
        session = answer["session"]
        parsed = _read(_SESSION_KINDS.get(str(session.get("status")), _OPEN_SESSION), session, asked_at)
        return _notice(parsed, session, occurred_at=None)
    thing = fields.section(answer, "payment")
    refunds, disputes = (_objects(answer, name) for name in ("refunds", "disputes"))
    parsed = dict(_read_payment(thing, refunds, asked_at))
    parts = [_read(_REFUND, one, asked_at) for one in refunds] + [_read(_DISPUTE, one, asked_at) for one in disputes]
    fees = [fee for part in (parsed, *parts) for fee in part.get("fees", ())]
    parsed |= {
        "fees": tuple(fees),
        "unbooked": "; ".join(one for part in (parsed, *parts) if (one := part.get("unbooked"))) or None,
        "disputes": tuple(one for part in parts for one in part.get("disputes", ())),
        # the refunds are known one by one
        "refunded_minor": None,
        **_of_session(answer, parsed, asked_at),
    }
    return _notice(parsed, thing, occurred_at=_collected_at(thing) if parsed["stage"] is Stage.COMPLETED else None)


def _of_session(answer: Mapping[str, Any], parsed: stripe_events.Part, asked_at: datetime | None) -> stripe_events.Part:
    """What the checkout session adds to its payment intent: its own id, and who pays where the intent does not say."""
    session = answer.get("session")
    if not isinstance(session, dict):
        return {}
    said = _read(_OPEN_SESSION, {**session, "payment_intent": parsed["reference"]}, asked_at)
    names = ("user_id", "order_number", "subscription_id")
    return {"checkout": said["checkout"], **{name: said[name] for name in names if parsed.get(name) is None}}


def _read_payment(thing: Mapping[str, Any], refunds: list[Any], asked_at: datetime | None) -> stripe_events.Part:
    listed = {"refunds": {"object": "list", "data": refunds}}
    if thing.get("object") == "charge":
        return _read(_CHARGE, {**thing, **listed}, asked_at)
    charge = thing.get("latest_charge")
    intent = {**thing, "latest_charge": {**charge, **listed}} if isinstance(charge, dict) else thing
    return _read(_INTENT_KINDS.get(str(thing.get("status")), _PENDING), intent, asked_at)


def _read(kind: str, thing: Mapping[str, Any], asked_at: datetime | None) -> stripe_events.Part:
    seconds = int(asked_at.timestamp()) if asked_at else None
    parsed = stripe_events.read(kind, {"type": kind, "created": seconds, "data": {"object": thing}})
    assert parsed is not None
    return parsed


def _notice(parsed: stripe_events.Part, thing: Mapping[str, Any], occurred_at: datetime | None) -> PaymentNotice:
    livemode = thing.get("livemode")
    notice = PaymentNotice(
        key="",
        kind="answer",
        mode=None if livemode is None else Mode.LIVE if livemode is True else Mode.TEST,
        occurred_at=occurred_at,
        **parsed,
    )
    # the same facts are the same answer, whenever they were asked for
    facts = (notice.stage, notice.amount_minor, notice.authorized_minor, notice.refunds, notice.disputes, notice.fees)
    shown = json.dumps(facts, default=_fact, sort_keys=True)
    digest = hashlib.sha256(shown.encode()).hexdigest()[:32]
    return replace(notice, key=f"answer:{notice.reference or notice.checkout}:{digest}")


def _fact(one: Any) -> list[Any]:
    return [one.id, one.amount_minor, getattr(one, "state", None), getattr(one, "kind", None)]


def _collected_at(thing: Mapping[str, Any]) -> datetime | None:
    """When the money came: the charge's movement of the balance, which of a hold is later than the charge."""
    charge = thing if thing.get("object") == "charge" else thing.get("latest_charge")
    if not isinstance(charge, dict):
        return None
    movement = charge.get("balance_transaction")
    return fields.instant((movement if isinstance(movement, dict) else charge).get("created"))


def _objects(answer: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    found = answer.get(name)
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise UnreadableEventError(f"{name} must be a list of Stripe's objects.")
    return found
