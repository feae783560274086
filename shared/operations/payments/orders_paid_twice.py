"""Orders that were paid more than once, at one provider or several, and the surplus to refund."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, text

# The payments of an order that wallets still hold something of; the one that was collected first is what the order
# cost. A payment that was given back is no surplus.
_SURPLUS = """
WITH repeated AS MATERIALIZED (
    -- by the index of order numbers alone
    SELECT order_number FROM payments WHERE completed_at IS NOT NULL AND order_number IS NOT NULL
    GROUP BY order_number HAVING count(*) > 1
)
SELECT order_number, user_id, currency, array_agg(id ORDER BY completed_at, id) AS payment_ids,
    array_agg(provider ORDER BY completed_at, id) AS providers,
    (sum(credited_minor) - (array_agg(credited_minor ORDER BY completed_at, id))[1])::bigint AS surplus_minor,
    max(completed_at) AS paid_again_at
FROM payments JOIN repeated USING (order_number)
WHERE completed_at IS NOT NULL AND credited_minor > 0
GROUP BY order_number, user_id, currency HAVING count(*) > 1
ORDER BY paid_again_at DESC LIMIT :limit
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surplus:
    """One order that was paid more than once; `payment_ids` and `providers` are in the order of collection."""

    order_number: str
    user_id: int
    currency: str
    payment_ids: Sequence[int]
    providers: Sequence[str]
    surplus_minor: int
    paid_again_at: datetime

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "paid_again_at": self.paid_again_at.isoformat()}


def find_surplus(engine: Engine, *, limit: int = 100) -> list[Surplus]:
    """The orders that are paid more than once now, the newest surplus first."""
    with engine.connect() as connection:
        return [Surplus(**row) for row in connection.execute(text(_SURPLUS), {"limit": limit}).mappings()]
