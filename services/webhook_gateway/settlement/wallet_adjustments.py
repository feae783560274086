"""Books wallet corrections of operators, each once.

A correction is two transactions: the posting, which notes itself in the correction's row, and then the subscriptions,
which are a function of the balance alone. A worker that dies between them leaves a row that another one finishes.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Engine, Row, text

from services.webhook_gateway.payments.ledger import adjusted
from services.webhook_gateway.settlement.book_payment_notice import WalletPolicy
from services.webhook_gateway.settlement.post_transaction import post
from services.webhook_gateway.settlement.settlement_store import SettlementStore
from services.webhook_gateway.settlement.subscription_activation import pay_subscriptions
from shared.runtime.failpoints import failpoint

#: Corrections of one round; there are few in a day.
AT_ONCE: Final = 50

_DUE = "SELECT id FROM ledger_adjustments WHERE booked_at IS NULL AND refusal IS NULL ORDER BY id LIMIT :limit"
_LOCK = """
SELECT id, user_id, amount_minor, currency, transaction_id FROM ledger_adjustments
WHERE id = :id AND booked_at IS NULL AND refusal IS NULL FOR UPDATE
"""
_LOCK_WALLET = "SELECT FROM users WHERE id = :user_id FOR NO KEY UPDATE"
_MOVE = "UPDATE users SET balance_minor = balance_minor + :amount_minor WHERE id = :user_id"
_NOTE = "UPDATE ledger_adjustments SET transaction_id = :transaction_id WHERE id = :id"
_REFUSE = "UPDATE ledger_adjustments SET refusal = :refusal WHERE id = :id"
_FINISH = "UPDATE ledger_adjustments SET booked_at = now() WHERE id = :id AND booked_at IS NULL"


@dataclass(frozen=True, slots=True)
class AdjustmentBookings:
    """The use case with what it is given; `books` begins a settlement's transaction."""

    engine: Engine
    books: Callable[[], AbstractContextManager[SettlementStore]]
    terms: WalletPolicy

    def book_due(self) -> int:
        """Book what was asked for, and return how many corrections that were."""
        with self.engine.connect() as connection:
            due = list(connection.scalars(text(_DUE), {"limit": AT_ONCE}))
        return sum(self.book(adjustment_id) for adjustment_id in due)

    def book(self, adjustment_id: int) -> bool:
        """Book one; False where another worker has, or where it is refused."""
        with self.engine.begin() as connection:
            row = connection.execute(text(_LOCK), {"id": adjustment_id}).one_or_none()
            if row is None:
                return False
            if row.transaction_id is None and not self._post(connection, row):
                return False
        failpoint("adjustments.after_posting")
        with self.books() as books:
            pay_subscriptions(row.user_id, self.terms.currency, books, self.terms.now(), None)
        failpoint("adjustments.after_subscriptions")
        with self.engine.begin() as connection:
            return bool(connection.execute(text(_FINISH), {"id": adjustment_id}).rowcount)

    def _post(self, connection: Connection, row: Row[Any]) -> bool:
        if row.currency != self.terms.currency:
            refusal = f"the school's wallets are in {self.terms.currency}, the correction is in {row.currency}"
            connection.execute(text(_REFUSE), {"id": row.id, "refusal": refusal})
            return False
        connection.execute(text(_LOCK_WALLET), {"user_id": row.user_id})
        transaction_id = post(connection, adjusted(row.user_id, row.amount_minor, row.currency))
        connection.execute(text(_MOVE), {"user_id": row.user_id, "amount_minor": row.amount_minor})
        connection.execute(text(_NOTE), {"id": row.id, "transaction_id": transaction_id})
        return True
