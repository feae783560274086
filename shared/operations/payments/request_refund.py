"""Records an operator's request for a refund; the payments worker sends it to the provider, once.

Nothing is booked here: the ledger moves by what the provider answers. The idempotency key is what makes the refund the
same one when it is asked for again.
"""

import time
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Engine, Row, func, select
from sqlalchemy.dialects.postgresql import insert

from shared.operations import audit_log
from shared.runtime.currency import Money
from shared.runtime.translatable_sentence import Sentence
from shared.schema.tables import payments, refund_requests

_POLL_SECONDS = 0.1
_ASKED = ("payment_id", "amount_minor")
#: The providers whose API has refunds. Chargily documents none; of the others we only know their webhooks.
REFUNDING = ("stripe", "satim")
#: What has begun, or may have, and is in no answer of the provider's yet.
_UNDER_WAY = ("requested", "sending", "unknown")


class CannotRefundError(Exception):
    """The refund cannot be asked for; the message says why, and what can be done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refund:
    """A refund of `amount_minor`, or of all that is left where that is None."""

    idempotency_key: str
    payment_id: int
    amount_minor: int | None
    reason: str
    actor_name: str


@dataclass(frozen=True, slots=True)
class RefundStatus:
    """What became of a refund at its provider, the event that is the provider's answer, and what that came to."""

    id: int
    state: str
    note: str | None
    amount_minor: int
    event_id: int | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def request_refund(engine: Engine, refund: Refund) -> tuple[int, bool]:
    """Keep the refund for the worker; its number, and whether it is new.

    Raises CannotRefundError where the provider has no refunds, where there is not so much to refund, or where the key
    has been used for another refund.
    """
    column = refund_requests.c
    with engine.begin() as connection:
        # two requests about one payment wait for each other: both count what is under way
        lock = func.pg_advisory_xact_lock(func.hashtext("refund_requests"), refund.payment_id % 2**31)
        connection.execute(select(lock))
        payment = connection.execute(select(payments).where(payments.c.id == refund.payment_id)).one_or_none()
        if payment is None:
            raise CannotRefundError(Sentence("There is no payment %(id)s.", id=refund.payment_id))
        query = select(column.id, *(column[name] for name in _ASKED))
        known = connection.execute(query.where(column.idempotency_key == refund.idempotency_key)).one_or_none()
        if known is not None:
            _require_same(known, refund)
            return int(known.id), False
        amount_minor = _amount(connection, payment, refund)
        values = {**asdict(refund), "amount_minor": amount_minor, "currency": payment.currency}
        new_id = int(connection.execute(insert(refund_requests).values(values).returning(column.id)).scalar_one())
        audit_log.record(
            connection,
            who=refund.actor_name,
            what="payment.refund",
            why=refund.reason,
            ids=[refund.payment_id],
            chosen_by={"refund": new_id, "amount_minor": amount_minor, "key": refund.idempotency_key},
        )
    return new_id, True


def wait_for_refund(engine: Engine, refund_id: int, seconds: float) -> RefundStatus:
    """The refund once the provider has answered, or as it is after `seconds`."""
    column = refund_requests.c
    query = select(*(column[name] for name in RefundStatus.__dataclass_fields__)).where(column.id == refund_id)
    deadline = time.monotonic() + seconds
    while True:
        with engine.connect() as connection:
            status = RefundStatus(*connection.execute(query).one())
        if status.state not in ("requested", "sending") or time.monotonic() >= deadline:
            return status
        time.sleep(_POLL_SECONDS)


def _require_same(known: Row[Any], refund: Refund) -> None:
    is_same = known.payment_id == refund.payment_id and refund.amount_minor in (None, known.amount_minor)
    if not is_same:
        raise CannotRefundError(
            Sentence(
                "The key %(key)s belongs to refund %(id)s, of another payment or amount; give this one a key of"
                " its own.",
                key=repr(refund.idempotency_key),
                id=known.id,
            )
        )


def _amount(connection: Connection, payment: Row[Any], refund: Refund) -> int:
    """How much is refunded. Raises CannotRefundError where it cannot be."""
    if payment.provider not in REFUNDING:
        raise CannotRefundError(
            Sentence(
                "%(provider)s has no refunds in its API: refund it in the provider's own pages, and correct the wallet"
                " with nouba payments adjust.",
                provider=payment.provider,
            )
        )
    if payment.completed_at is None or payment.provider_reference is None:
        raise CannotRefundError(
            Sentence(
                "Payment %(id)s is %(state)s: nothing was collected.", id=payment.id, state=Sentence(payment.status)
            )
        )
    column = refund_requests.c
    under_way = connection.scalar(
        select(func.coalesce(func.sum(column.amount_minor), 0)).where(
            column.payment_id == payment.id, column.state.in_(_UNDER_WAY)
        )
    )
    left_minor = payment.amount_minor - payment.refunded_minor - int(under_way or 0)
    amount_minor = left_minor if refund.amount_minor is None else refund.amount_minor
    if not 0 < amount_minor <= left_minor:
        left = Money(max(0, left_minor), payment.currency)
        raise CannotRefundError(Sentence("Of payment %(id)s %(left)s can be refunded.", id=payment.id, left=left))
    return amount_minor
