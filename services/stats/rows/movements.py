"""The transaction and the payment that a row of the ledger, or a debt, comes from."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from services.stats.days import Days, day_of
from services.stats.rows.row import Row
from services.stats.sections.base import Query

ENTRIES = "ledger_entries"

_OF_ENTRIES = """
SELECT entry.id, booked.id AS transaction_id, booked.kind, payment.id AS payment_id,
       payment.amount_minor AS payment_minor, payment.provider_reference AS payment_reference
FROM unnest(%(ids)s::bigint[]) AS wanted (id)
JOIN ledger_entries AS entry ON entry.id = wanted.id
JOIN ledger_transactions AS booked ON booked.id = entry.transaction_id
LEFT JOIN payments AS payment ON payment.id = booked.payment_id
"""


def with_movements(ask: Query, rows: Sequence[Row]) -> list[Row]:
    """The same rows; those that are entries of the ledger with their transaction and its payment."""
    ids = [row.id for row in rows if row.source == ENTRIES]
    found = {row.id: row for row in ask(_OF_ENTRIES, ids=ids)} if ids else {}
    return [
        replace(row, **_movement(one)) if row.source == ENTRIES and (one := found.get(row.id)) is not None else row
        for row in rows
    ]


# what a wallet held after each transaction until the day's end
_CAUSES = """
WITH moved AS (
    SELECT wanted.id AS user_id, booked.id AS transaction_id, booked.created_at AS at, booked.kind, booked.payment_id,
           sum(entry.amount_minor) AS amount_minor
    FROM unnest(%(ids)s::bigint[]) AS wanted (id)
    JOIN ledger_accounts AS account ON account.kind = 'user_wallet' AND account.user_id = wanted.id
    JOIN ledger_entries AS entry ON entry.account_id = account.id
    JOIN ledger_transactions AS booked ON booked.id = entry.transaction_id
    WHERE booked.created_at < %(ends_at)s
    GROUP BY wanted.id, booked.id
), held AS (
    SELECT *, sum(amount_minor) OVER (PARTITION BY user_id ORDER BY at, transaction_id) AS balance FROM moved
)
SELECT DISTINCT ON (user_id) held.user_id, transaction_id, at, kind, payment.id AS payment_id,
       payment.amount_minor AS payment_minor, payment.provider_reference AS payment_reference
FROM held LEFT JOIN payments AS payment ON payment.id = held.payment_id
WHERE balance < 0 AND balance - held.amount_minor >= 0
ORDER BY user_id, at DESC, transaction_id DESC
"""


def with_causes(ask: Query, rows: Sequence[Row], days: Days) -> list[Row]:
    """The same wallets below zero, with the transaction that took each there last, when, and how many days ago."""
    ids = [row.id for row in rows]
    found = {row.user_id: row for row in ask(_CAUSES, ids=ids, ends_at=days.ends_at)} if ids else {}

    def explained(row: Row) -> Row:
        if (one := found.get(row.id)) is None:
            return row
        age = (days.last - day_of(one.at, days.zone)).days
        return replace(row, at=one.at, age_days=age, **_movement(one))

    return [explained(row) for row in rows]


def _movement(found: Any) -> dict[str, Any]:
    names = ("transaction_id", "kind", "payment_id", "payment_minor", "payment_reference")
    return {name: getattr(found, name) for name in names}
