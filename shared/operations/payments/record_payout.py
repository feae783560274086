"""Records what a provider transferred to the school's bank; the payments worker books it as a balanced posting, once.

The bank's reference makes it the same payout when it is recorded again.
"""

import time
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from sqlalchemy import Connection, Engine, select
from sqlalchemy.dialects.postgresql import insert

from shared.operations import audit_log
from shared.runtime.currency import format_minor
from shared.schema.tables import ledger_accounts, provider_payouts

_POLL_SECONDS = 0.1
_COMPARED = ("amount_minor", "currency", "paid_on")


class CannotRecordError(Exception):
    """The payout cannot be recorded; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Payout:
    """A transfer: `amount_minor` is what the school's bank got, or what went back where that is negative."""

    provider: str
    reference: str
    amount_minor: int
    currency: str
    paid_on: date
    actor_name: str


@dataclass(frozen=True, slots=True)
class PayoutStatus:
    """What became of a payout; neither a transaction nor a refusal while no worker has booked it."""

    id: int
    transaction_id: int | None
    is_booked: bool
    refusal: str | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def record_payout(engine: Engine, payout: Payout) -> tuple[int, bool]:
    """Keep the payout for the worker; its number, and whether it is new.

    Raises CannotRecordError where nothing of the provider is booked, or the reference is another payout's.
    """
    column = provider_payouts.c
    with engine.begin() as connection:
        _require_provider(connection, payout.provider)
        kept = insert(provider_payouts).values(**asdict(payout)).on_conflict_do_nothing().returning(column.id)
        new_id = connection.scalar(kept)
        if new_id is not None:
            facts = {"provider": payout.provider, "reference": payout.reference, "amount_minor": payout.amount_minor}
            facts |= {"currency": payout.currency, "paid_on": payout.paid_on.isoformat()}
            audit_log.record(
                connection, who=payout.actor_name, what="payout.record", why=None, ids=[new_id], chosen_by=facts
            )
            return int(new_id), True
        same_reference = (column.provider == payout.provider) & (column.reference == payout.reference)
        newest = select(provider_payouts).where(same_reference).order_by(column.id.desc()).limit(1)
        known = connection.execute(newest).one()
    if any(known._mapping[name] != getattr(payout, name) for name in _COMPARED):
        raise CannotRecordError(
            f"The reference {payout.reference!r} belongs to payout {known.id} of {payout.provider}, "
            f"{format_minor(known.amount_minor, known.currency)} on {known.paid_on}. Each transfer has a reference of "
            "its own; correct a wrong amount by a further payout with the difference."
        )
    return int(known.id), False


def _require_provider(connection: Connection, provider: str) -> None:
    of_clearing = select(ledger_accounts.c.provider).where(ledger_accounts.c.kind == "psp_clearing")
    known = sorted(name for name in connection.scalars(of_clearing) if name is not None)
    if provider not in known:
        raise CannotRecordError(
            f"No payment of the provider {provider!r} is booked, so it owes nothing that it could pay out. "
            f"Providers with booked payments: {', '.join(known) or 'none'}."
        )


def wait_for_payout(engine: Engine, payout_id: int, seconds: float) -> PayoutStatus:
    """The payout once a worker has booked or refused it, or as it is after `seconds`."""
    column = provider_payouts.c
    query = select(column.id, column.transaction_id, column.booked_at, column.refusal).where(column.id == payout_id)
    deadline = time.monotonic() + seconds
    while True:
        with engine.connect() as connection:
            row = connection.execute(query).one()
        is_booked = row.booked_at is not None
        if is_booked or row.refusal is not None or time.monotonic() >= deadline:
            return PayoutStatus(row.id, row.transaction_id, is_booked, row.refusal)
        time.sleep(_POLL_SECONDS)
