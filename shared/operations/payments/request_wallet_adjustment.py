"""Records an operator's request to adjust a wallet; the payments worker books it as a balanced posting, once.

The idempotency key is what makes the correction the same one when it is asked for again.
"""

import time
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Engine, select
from sqlalchemy.dialects.postgresql import insert

from shared.operations import audit_log
from shared.schema.tables import ledger_adjustments, payments, users

_POLL_SECONDS = 0.1
_ASKED = ("user_id", "amount_minor", "currency", "payment_id")


class CannotAdjustError(Exception):
    """The correction cannot be asked for; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjustment:
    """A correction: `amount_minor` is what the wallet gets, or what is taken from it where that is negative."""

    idempotency_key: str
    user_id: int
    amount_minor: int
    currency: str
    reason: str
    actor_name: str
    payment_id: int | None = None


@dataclass(frozen=True, slots=True)
class AdjustmentStatus:
    """What became of a correction; neither a transaction nor a refusal while no worker has booked it."""

    id: int
    transaction_id: int | None
    is_booked: bool
    refusal: str | None
    balance_minor: int

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def request_adjustment(engine: Engine, adjustment: Adjustment) -> tuple[int, bool]:
    """Keep the correction for the worker; its number, and whether it is new.

    Raises CannotAdjustError where the user or the payment is not there, the payment is another user's, or the key has
    been used for another correction.
    """
    column = ledger_adjustments.c
    with engine.begin() as connection:
        if connection.scalar(select(users.c.id).where(users.c.id == adjustment.user_id)) is None:
            raise CannotAdjustError(f"There is no user {adjustment.user_id}.")
        if adjustment.payment_id is not None:
            owner = connection.scalar(select(payments.c.user_id).where(payments.c.id == adjustment.payment_id))
            if owner != adjustment.user_id:
                raise CannotAdjustError(f"Payment {adjustment.payment_id} is none of user {adjustment.user_id}.")
        kept = insert(ledger_adjustments).values(**asdict(adjustment)).on_conflict_do_nothing().returning(column.id)
        new_id = connection.scalar(kept)
        if new_id is not None:
            asked = {name: getattr(adjustment, name) for name in _ASKED}
            audit_log.record(
                connection,
                who=adjustment.actor_name,
                what="payment.adjust",
                why=adjustment.reason,
                ids=[new_id],
                chosen_by=asked,
            )
            return int(new_id), True
        query = select(column.id, *(column[name] for name in _ASKED))
        known = connection.execute(query.where(column.idempotency_key == adjustment.idempotency_key)).one()
    if any(known._mapping[name] != getattr(adjustment, name) for name in _ASKED):
        raise CannotAdjustError(
            f"The key {adjustment.idempotency_key!r} belongs to correction {known.id}, of another user, amount or "
            "payment; give this one a key of its own."
        )
    return int(known.id), False


def wait_for_adjustment(engine: Engine, adjustment_id: int, seconds: float) -> AdjustmentStatus:
    """The correction once a worker has booked or refused it, or as it is after `seconds`."""
    column = ledger_adjustments.c
    query = (
        select(column.id, column.transaction_id, column.booked_at, column.refusal, users.c.balance_minor)
        .join_from(ledger_adjustments, users, users.c.id == column.user_id)
        .where(column.id == adjustment_id)
    )
    deadline = time.monotonic() + seconds
    while True:
        with engine.connect() as connection:
            row = connection.execute(query).one()
        if row.booked_at is not None or row.refusal is not None or time.monotonic() >= deadline:
            is_booked = row.booked_at is not None
            return AdjustmentStatus(row.id, row.transaction_id, is_booked, row.refusal, row.balance_minor)
        time.sleep(_POLL_SECONDS)
