"""What ledger rows belong to: the transaction, which all entries of one movement of money share, and its payment."""

from collections.abc import Sequence
from dataclasses import replace

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
        replace(
            row,
            transaction_id=one.transaction_id,
            kind=one.kind,
            payment_id=one.payment_id,
            payment_minor=one.payment_minor,
            payment_reference=one.payment_reference,
        )
        if row.source == ENTRIES and (one := found.get(row.id)) is not None
        else row
        for row in rows
    ]
