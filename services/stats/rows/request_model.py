"""Data class of a request for rows: of which number, day and key, and after which row."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from services.stats.days import Days
from services.stats.rows.row import Row
from services.stats.sections.base import Rules

#: So many rows are sent at once.
PAGE = 1000


@dataclass(frozen=True, slots=True)
class RowsRequest:
    """A page of the rows of a number of one day, in the order of their ids."""

    #: One day; several for `read_days` alone.
    days: Days
    rules: Rules
    #: Its id, such as `revenue.net`.
    number: str
    #: One key of a breakdown; None is all of them.
    key: str | None = None
    #: The keys that the day names; `~others` is all that is none of them.
    named: Sequence[str] = ()
    #: The id that the page before ended with.
    after: int = 0
    #: None is no limit. A page may have fewer rows, and be followed by others.
    limit: int | None = PAGE
    #: Of wallets: the largest balance or debt first, and `after` is the last row of the page before; None is where that
    #: takes no longer than by id.
    largest_first: bool | None = False

    def matching(self, rows: Iterable[Row]) -> list[Row]:
        """Those of `rows` that count for the key."""
        return [row for row in rows if row.matches(self.key, self.named)]
