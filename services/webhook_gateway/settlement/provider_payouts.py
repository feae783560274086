"""Books what providers paid out to the school's bank, each payout once.

The posting and its number in the payout's row are one transaction: a worker that dies has booked all of it or nothing.
"""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Engine, text

from services.webhook_gateway.payments.ledger import paid_out
from services.webhook_gateway.settlement.post_transaction import post
from shared.runtime.failpoints import failpoint

#: Payouts of one round; there are few in a week.
AT_ONCE: Final = 50

_DUE = "SELECT id FROM provider_payouts WHERE booked_at IS NULL AND refusal IS NULL ORDER BY id LIMIT :limit"
_LOCK = """
SELECT id, provider, amount_minor, currency FROM provider_payouts
WHERE id = :id AND booked_at IS NULL AND refusal IS NULL FOR UPDATE
"""
_REFUSE = "UPDATE provider_payouts SET refusal = :refusal WHERE id = :id"
_FINISH = "UPDATE provider_payouts SET transaction_id = :transaction_id, booked_at = now() WHERE id = :id"


@dataclass(frozen=True, slots=True)
class PayoutBookings:
    """The use case with what it is given; `currency` is that of the school's ledger."""

    engine: Engine
    currency: str

    def book_due(self) -> bool:
        """Book what was recorded; whether more may be due."""
        with self.engine.connect() as connection:
            due = list(connection.scalars(text(_DUE), {"limit": AT_ONCE}))
        for payout_id in due:
            self.book(payout_id)
        return len(due) == AT_ONCE

    def book(self, payout_id: int) -> bool:
        """Book one; False where another worker has, or where it is refused."""
        with self.engine.begin() as connection:
            row = connection.execute(text(_LOCK), {"id": payout_id}).one_or_none()
            if row is None:
                return False
            if row.currency != self.currency:
                refusal = f"the ledger is in {self.currency}, the payout in {row.currency}; correct NOUBA_CURRENCY"
                connection.execute(text(_REFUSE), {"id": row.id, "refusal": refusal})
                return False
            transaction_id = post(connection, paid_out(row.provider, row.amount_minor, row.currency))
            failpoint("payouts.after_posting")
            connection.execute(text(_FINISH), {"id": row.id, "transaction_id": transaction_id})
            failpoint("payouts.before_commit")
        failpoint("payouts.after_commit")
        return True
