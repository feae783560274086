"""Reads a page of the rows of a number over several days: the rows of each day, one day after the other."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date

from services.stats.days import Days
from services.stats.rows.read_page import Page, read_page
from services.stats.rows.request_model import RowsRequest
from services.stats.rows.row import Row
from services.stats.sections.base import Query

#: After so long a page begins no other day, and may have fewer rows.
_NEXT_DAY_WITHIN_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class DayToRead:
    """A day whose rows are read."""

    day: date
    #: The keys that are not part of `~others`.
    named: Sequence[str] = ()
    #: It is known to have no rows.
    is_empty: bool = False


def read_days(new_query: Callable[[], Query], days: Sequence[DayToRead], request: RowsRequest) -> Page:
    """The rows that are asked for, of each of `days`; `after` is an id of the first one. A day gets its own query."""
    began, limit = time.monotonic(), request.limit
    found: list[Row] = []
    largest_first = False
    for place, one in enumerate(days):
        if one.is_empty:
            continue
        is_late = place > 0 and time.monotonic() - began > _NEXT_DAY_WITHIN_SECONDS
        if limit is not None and (len(found) >= limit or is_late):
            return Page(found, 0, one.day)
        of_day = replace(
            request,
            days=Days(one.day, one.day, request.days.zone),
            named=one.named,
            after=request.after if place == 0 else 0,
            limit=None if limit is None else limit - len(found),
        )
        page = read_page(new_query(), of_day)
        largest_first = page.largest_first
        found += [replace(row, counted_on=one.day) for row in page.rows]
        if page.next is not None:
            return replace(page, rows=found, next_day=one.day)
    return Page(found, None, largest_first=largest_first)
