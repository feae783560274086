"""A row behind a number, and the choice of rows by a key of a breakdown."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from services.stats.sections.base import NONE, OTHERS


@dataclass(frozen=True, slots=True)
class Row:
    """One fact. `amount` is what it adds to the number: an amount in minor units, or 1."""

    source: str
    id: int
    user_id: int | None
    at: datetime | None
    key: str | None
    amount: int
    #: Of a correction: the closed day.
    day: date | None = None
    #: Of a term or a sale: its chapter; of a term when it ends; None where it has none.
    chapter: str | None = None
    ends_at: datetime | None = None
    #: The day in whose number it counts.
    counted_on: date | None = None
    #: Of the ledger: the transaction and its kind, and its payment with what was paid and the provider's reference.
    transaction_id: int | None = None
    kind: str | None = None
    payment_id: int | None = None
    payment_minor: int | None = None
    payment_reference: str | None = None
    #: Of a debt: for how many days the wallet has been below zero.
    age_days: int | None = None

    def matches(self, key: str | None, named: Sequence[str]) -> bool:
        """Whether it counts for `key`; `named` are the keys that the day names."""
        name = NONE if self.key is None else self.key
        if key == OTHERS:
            # what was `~others` in a day's own numbers stands so in its corrections
            return name == OTHERS or name not in named
        return key is None or name == key


def tests_of(column: str, key: str | None) -> list[str]:
    """The same in SQL, with %(key)s and %(named)s."""
    if key == OTHERS:
        return [f"coalesce({column}::text, '{NONE}') <> ALL (%(named)s)"]
    # of the column by itself the planner knows how many rows have the key
    or_nothing = f" OR {column} IS NULL" if key == NONE else ""
    return [] if key is None else [f"({column}::text = %(key)s{or_nothing})"]


def first_page(found: list[Row], limit: int | None) -> list[Row]:
    """The first rows. Two terms of one subscription have one id, and stay on one page."""
    if limit is None or len(found) <= limit:
        return found
    return [row for row in found if row.id <= found[limit - 1].id]
