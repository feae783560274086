"""The poll schedule in PostgreSQL: columns of the payments, so that a lease is one row's update."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine, Row

from services.webhook_gateway.reconciliation.reconcile import LEASE, Due

# a checkout of Stripe's has no payment intent until somebody pays: it is asked about by its own id
_CHECKOUT = "SELECT provider_checkout_id FROM checkouts WHERE payment_id = payments.id"
_ASKABLE = f"(provider_reference IS NOT NULL OR ({_CHECKOUT}) IS NOT NULL)"
_REFERENCE = f"coalesce(provider_reference, ({_CHECKOUT})) AS reference"
# the row that is updated is checked again under its lock, so that two workers never lease the same payment
_TAKE = f"""
UPDATE payments SET asks = asks + 1, asked_at = now(), next_ask_at = now() + %(lease)s
WHERE id = (
    SELECT id FROM payments
    WHERE provider = %(provider)s AND status IN ('pending', 'authorized') AND {_ASKABLE}
      AND next_ask_at <= now()
    ORDER BY next_ask_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED)
RETURNING id AS payment_id, {_REFERENCE}, created_at, asks
"""  # noqa: S608
_TAKE_ONE = f"""
UPDATE payments SET asks = asks + 1, asked_at = now(), next_ask_at = now() + %(lease)s
WHERE id = %(payment_id)s AND status IN ('pending', 'authorized') AND {_ASKABLE}
  AND (asked_at IS NULL OR asked_at < now() - %(lease)s OR next_ask_at IS DISTINCT FROM asked_at + %(lease)s)
RETURNING id AS payment_id, {_REFERENCE}, created_at, asks
"""  # noqa: S608
#: The providers whose answers about a collected payment report more than the webhooks: in the words of the index.
FOLLOWED = ("stripe",)
# what is due for longer was collected before this provider could be asked
_TAKE_COLLECTED = f"""
UPDATE payments SET asks = asks + 1, asked_at = now(), next_ask_at = now() + %(lease)s
WHERE id = (
    SELECT id FROM payments
    WHERE provider = %(provider)s AND provider IN ({", ".join(f"'{name}'" for name in FOLLOWED)})
      AND completed_at IS NOT NULL AND next_ask_at BETWEEN now() - interval '4 days' AND now()
      AND status NOT IN ('pending', 'authorized') AND provider_reference IS NOT NULL
    ORDER BY next_ask_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED)
RETURNING id AS payment_id, provider_reference AS reference, created_at, asks, completed_at
"""  # noqa: S608
# a payer whose card was declined may try another one, which a lost webhook would report
_TAKE_FAILED = f"""
UPDATE payments SET asks = asks + 1, asked_at = now(), next_ask_at = now() + %(lease)s
WHERE id = (
    SELECT id FROM payments
    WHERE provider = %(provider)s AND provider IN ({", ".join(f"'{name}'" for name in FOLLOWED)})
      AND status = 'failed' AND next_ask_at BETWEEN now() - interval '4 days' AND now()
      AND provider_reference IS NOT NULL
    ORDER BY next_ask_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED)
RETURNING id AS payment_id, provider_reference AS reference, created_at, asks
"""  # noqa: S608
_PUT_OFF = "UPDATE payments SET next_ask_at = %(until)s WHERE id = %(payment_id)s AND asks = %(asks)s"
_UNFINISHED = f"""
SELECT id AS payment_id, provider, status, created_at, asks, asked_at, next_ask_at FROM payments
WHERE provider = ANY(%(providers)s) AND status IN ('pending', 'authorized') AND {_ASKABLE}
  AND created_at <= now() - %(older_than)s
ORDER BY created_at, id
"""  # noqa: S608
_COUNT_DUE = f"""
SELECT count(*) FROM payments
WHERE provider = %(provider)s AND status IN ('pending', 'authorized') AND {_ASKABLE}
  AND next_ask_at <= now()
"""  # noqa: S608
#: A request that began a checkout and never kept the provider's answer: no payer was sent anywhere.
_EXPIRE_LOST = """
UPDATE payments SET status = 'expired', next_ask_at = NULL,
    failure_reason = 'the checkout was never created: its request was lost'
FROM checkouts AS checkout
WHERE checkout.payment_id = payments.id AND checkout.redirect_url IS NULL AND checkout.begun_at < now() - %(after)s
  AND checkout.created_at < now() - %(after)s
  AND payments.status = 'pending' AND payments.provider_reference IS NULL
RETURNING payments.id
"""


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A payment that nobody has reported the end of."""

    payment_id: int
    provider: str
    status: str
    created_at: datetime
    asks: int
    asked_at: datetime | None
    next_ask_at: datetime | None


class PostgresPollSchedule:
    """Implements `PollSchedule`. `engine` has to commit by itself (isolation level AUTOCOMMIT)."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def take(self, provider: str) -> Due | None:
        takes = (_TAKE, _TAKE_FAILED, _TAKE_COLLECTED) if provider in FOLLOWED else (_TAKE,)
        found = (_due(self._rows(take, provider=provider, lease=LEASE)) for take in takes)
        return next((due for due in found if due is not None), None)

    def take_one(self, payment_id: int) -> Due | None:
        """That payment, due or not; None where it is finished, or leased to somebody who is asking about it."""
        return _due(self._rows(_TAKE_ONE, payment_id=payment_id, lease=LEASE))

    def put_off(self, due: Due, until: datetime | None) -> None:
        with self._engine.connect() as connection:
            connection.exec_driver_sql(_PUT_OFF, {"until": until, "payment_id": due.payment_id, "asks": due.asks})

    def unfinished(self, providers: Sequence[str], older_than: timedelta) -> list[Unfinished]:
        """The payments of `providers` that were begun so long ago, oldest first."""
        rows = self._rows(_UNFINISHED, providers=[*providers], older_than=older_than)
        return [Unfinished(**row._mapping) for row in rows]

    def count_due(self, provider: str) -> int:
        """How many should have been asked about by now."""
        return int(self._rows(_COUNT_DUE, provider=provider)[0][0])

    def expire_lost_checkouts(self, after: timedelta) -> int:
        """Mark payments as expired whose checkout was begun so long ago, and never created; how many."""
        return len(self._rows(_EXPIRE_LOST, after=after))

    def _rows(self, statement: str, **values: Any) -> Sequence[Row[Any]]:
        with self._engine.connect() as connection:
            return connection.exec_driver_sql(statement, values).all()


def _due(rows: Sequence[Row[Any]]) -> Due | None:
    return Due(**rows[0]._mapping) if rows else None
