"""Reads the ledger's entries in columns, a range of transactions at a time, and what their payments and terms were.

PostgreSQL joins transactions and entries alone; it sends numbers, and numpy adds them up: a third of the time of a
query that joins payments, subscriptions and chapters, and groups by them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from services.stats.binary_column_reader import Integers
from services.stats.days import Days
from services.stats.sections.base import Query, distinct

#: Where so many transactions are read, they come in ranges of their numbers.
MANY = 100_000
#: How many numbers are in such a range: some megabytes of entries, which are in memory several times.
RANGE = 25_000
#: Stands for the number of what is not there; nobody's id is so far down.
NO_ID = -(2**62)


@dataclass(frozen=True, slots=True)
class Entries:
    """Some entries of transactions of one kind, in one currency."""

    kind: str
    currency: str
    accounts: Integers
    amounts: Integers
    #: In microseconds since EPOCH.
    booked_at: Integers
    #: The subscription of an entry of the revenue's account, the payment of any other one.
    references: Integers


# OFFSET 0: the planner knows of each day only how many rows a table has on average
_ENTRIES = """
SELECT booked.kind, entry.currency, entry.account_id, entry.amount_minor, booked.created_at AS booked_at,
       coalesce(CASE WHEN entry.account_id = ANY (%(revenue)s::bigint[]) THEN booked.subscription_id
                     ELSE booked.payment_id END, %(none)s) AS reference
FROM (
    SELECT id, kind, created_at, subscription_id, payment_id FROM ledger_transactions
    WHERE created_at >= %(begins_at)s {of_transactions} ORDER BY id OFFSET 0
) AS booked
JOIN ledger_entries AS entry ON entry.transaction_id = booked.id {of_entries}
"""
_COLUMNS = ("account_id", "amount_minor", "booked_at", "reference")
_OF_RANGE = {
    "of_transactions": "AND id >= %(first)s AND id < %(until)s",
    "of_entries": "AND entry.transaction_id >= %(first)s AND entry.transaction_id < %(until)s",
}

_COUNTED = """
SELECT count(*) AS number FROM (SELECT FROM ledger_transactions WHERE created_at >= %(begins_at)s LIMIT %(many)s) AS one
"""
_NEXT = "SELECT min(id) AS id FROM ledger_transactions WHERE id >= %(first)s"


def has_many(ask: Query, days: Days) -> bool:
    """Whether very many transactions were booked since the first of `days` began."""
    return bool(ask(_COUNTED, begins_at=days.begins_at, many=MANY)[0].number >= MANY)


def read_entries(ask: Query, days: Days, revenue: Sequence[int], *, is_many: bool) -> Iterator[list[Entries]]:
    """All entries that were booked since the first of `days` began, also after the last one; where there are many, a
    range of transactions at a time.

    `revenue` are the accounts of the revenue of subscriptions.
    """
    values = {"begins_at": days.begins_at, "revenue": list(revenue), "none": NO_ID}
    if not is_many:
        yield _read(ask, _ENTRIES.format(of_transactions="", of_entries=""), values)
        return
    query = _ENTRIES.format(**_OF_RANGE)
    first = -(2**63)
    while (found := ask(_NEXT, first=first)[0].id) is not None:
        first = found + RANGE
        yield _read(ask, query, {**values, "first": found, "until": first})


def _read(ask: Query, query: str, values: Mapping[str, object]) -> list[Entries]:
    found: list[Entries] = []

    def take(kind: str, currency: str, columns: list[Integers]) -> None:
        found.append(Entries(kind, currency, *columns))

    ask.groups(query, _COLUMNS, ("kind", "currency"), take, **values)
    return found


class IdTable:
    """What belongs to some ids."""

    def __init__(self, ids: Integers, values: Integers) -> None:
        order = np.argsort(ids)
        self._ids, self._values = ids[order], values[order]

    def of(self, ids: Integers) -> Integers:
        """What belongs to each of these; NO_ID where it is none of them."""
        places = np.minimum(np.searchsorted(self._ids, ids), max(self._ids.size - 1, 0))
        if not self._ids.size:
            return np.full_like(ids, NO_ID)
        return np.where(self._ids[places] == ids, self._values[places], NO_ID)


def limited(ids: Integers) -> tuple[str, dict[str, object]]:
    """The condition that a table's `id` is one of these, or near them where most of those near are; and its values."""
    some = distinct(ids)
    # a range is read several times as fast as a list
    if some.size and some[-1] - some[0] < 4 * some.size:
        return "id BETWEEN %(lowest)s AND %(highest)s", {"lowest": int(some[0]), "highest": int(some[-1])}
    return "id = ANY (%(some)s::bigint[])", {"some": some.tolist()}
