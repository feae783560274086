"""Reads a page of the rows behind a number: user, object, time and amount; they add up to the number."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from typing import Any

from services.stats.days import ONE_DAY, midnight
from services.stats.errors import StatsError
from services.stats.rows import keyset_pagination, subscription_rows
from services.stats.rows.movements import with_causes, with_movements
from services.stats.rows.request_model import RowsRequest
from services.stats.rows.row import Row, first_page, tests_of
from services.stats.rows.sources import SOURCES, Balances, Entries, Facts, Together, Written
from services.stats.sections import ledger_movements
from services.stats.sections.base import Query, span
from services.stats.sections.catalogue import find_one
from services.stats.snapshots.compute import CORRECTIONS

_TABLE = "closed_day_corrections"
#: So many debts are explained on a page: of each, all entries of its wallet are read.
_DEBTS = 100
_LONG_AGO = datetime(1, 1, 2, tzinfo=UTC)


class NoRowsError(StatsError):
    """The number has no rows of its own; the message says what it is made of."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows of a number, and after which id of which day the next page begins; None where this is the last."""

    rows: list[Row]
    next: int | None
    next_day: date | None = None
    #: The order is that of the balances, and not of the ids.
    largest_first: bool = False
    #: The names of their users, where the reader wants them and the school has them.
    users: Mapping[int, str] = field(default_factory=dict)


def read_page(ask: Query, request: RowsRequest) -> Page:
    """The rows that are asked for."""
    source = SOURCES.get(request.number)
    if isinstance(source, Balances) and source.are_debts and request.limit is not None:
        request = replace(request, limit=min(request.limit, _DEBTS))
    if request.number.startswith(CORRECTIONS):
        page = Page(_booked(ask, request), None)
    else:
        page = _facts(ask, request)
    found = page.rows
    if page.next is not None:
        return page
    if request.limit is not None and len(found) >= request.limit:
        return replace(page, next=found[-1].id)
    # what is taken off a closed number stands on its last page
    taken_off = [] if request.number.startswith(CORRECTIONS) else _taken_off(ask, request)
    return replace(page, rows=found + taken_off)


def _facts(ask: Query, request: RowsRequest) -> Page:
    """The rows; where a page ended before it was full, `next` is the last id that was read."""
    number = request.number
    if number in SOURCES:
        return _read(ask, SOURCES[number], request)
    if number in subscription_rows.OF_TERMS:
        return Page(*subscription_rows.find_rows(ask, request))
    found = find_one(number)
    if found is None:
        raise NoRowsError(f"No number is called {number[:60]!r}; GET /api/stats/definitions lists them all.")
    raise NoRowsError(f"{number} is no sum of rows: {found[1].definition}")


_CORRECTIONS = "SELECT id, day, key, amount, found_at FROM closed_day_corrections WHERE number = %(number)s AND "


def _booked(ask: Query, request: RowsRequest) -> list[Row]:
    """The corrections of a number that are booked on the day."""
    found = ask(
        f"{_CORRECTIONS} booked_on = %(day)s AND adds_up AND id > %(after)s ORDER BY id",
        number=request.number.removeprefix(CORRECTIONS),
        day=request.days.first,
        after=request.after,
    )
    rows = [Row(_TABLE, row.id, None, row.found_at, row.key, row.amount, row.day) for row in found]
    return first_page(request.matching(rows), request.limit)


def _taken_off(ask: Query, request: RowsRequest) -> list[Row]:
    """Of a closed day: what its facts say now, and did not when it was closed."""
    found = ask(f"{_CORRECTIONS} day = %(day)s ORDER BY id", number=request.number, day=request.days.first)
    return request.matching(Row(_TABLE, row.id, None, row.found_at, row.key, -row.amount, row.day) for row in found)


def _read(ask: Query, source: Facts | Entries | Together | Written, request: RowsRequest) -> Page:
    days, key, limit = request.days, request.key, request.limit
    values = {**span(days), "currency": request.rules.currency}
    values |= {"after": request.after, "key": key, "named": list(request.named)}
    values["day_before"] = midnight(days.first - ONE_DAY, days.zone)
    back = days.first - ONE_DAY * (source.days_back if isinstance(source, Written) else 0)
    values |= {"since": midnight(back, days.zone), "since_ends": midnight(back + ONE_DAY, days.zone)}
    values |= {"since_day": back, "day": days.first}
    values["weeks"] = [midnight(days.first - ONE_DAY * back, days.zone) for back in (27, 20, 13, 6)]
    values |= ledger_movements.accounts(ask)
    if isinstance(source, Entries) and source.to_date:
        values["begins_at"] = _LONG_AGO
    tests = " AND ".join(tests_of("key", key)) or "true"
    if isinstance(source, Balances):
        largest_first = request.largest_first
        balances = keyset_pagination.of_balances(ask, source.text, values, tests, limit, largest_first=largest_first)
        rows = _rows(balances.rows)
        return Page(
            with_causes(ask, rows, days) if source.are_debts else rows,
            balances.read_until,
            largest_first=balances.largest_first,
        )
    return Page(with_movements(ask, _rows(_pages(ask, source, values, f"id > %(after)s AND {tests}", limit))), None)


def _rows(found: Sequence[Any]) -> list[Row]:
    return [
        Row(
            *(row.source, row.id, row.user_id, row.at, _text(row.key), int(row.amount)),
            chapter=_text(getattr(row, "chapter", None)),
        )
        for row in found
    ]


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _pages(
    ask: Query, source: Facts | Entries | Together | Written, values: dict[str, Any], tests: str, limit: int | None
) -> Sequence[Any]:
    text = f"SELECT * FROM ({source.sql()}) AS found WHERE {tests}"  # noqa: S608
    if isinstance(source, Written) and source.by_user:
        return keyset_pagination.by_id(ask, text, values, "users", limit)
    if limit is None:
        return ask(f"{text} ORDER BY id", **values)
    if isinstance(source, Facts) and source.to_date:
        return keyset_pagination.by_id(ask, f"{text} AND id <= %(until)s", values, source.table, limit, source.at)
    if isinstance(source, Entries):
        entries_of = keyset_pagination.of_entries if source.to_date else keyset_pagination.of_entries_of_day
        return entries_of(ask, source.what, source.sql(ledger_movements.ENTRIES_OF), tests, values, limit)
    if isinstance(source, Together):
        found = [row for part in source.parts for row in _pages(ask, part, values, tests, limit)]
        return keyset_pagination.with_ties(sorted(found, key=lambda row: row.id), limit)
    return ask(f"{text} ORDER BY id FETCH FIRST {int(limit)} ROWS WITH TIES", **values)


def has_rows(number: str) -> bool:
    """Whether the number is a sum of rows."""
    return number in SOURCES or number in subscription_rows.OF_TERMS


def are_balances(number: str) -> bool:
    """Whether the rows are wallets, which may come in the order of what they hold."""
    return isinstance(SOURCES.get(number), Balances)


def may_cancel_out(number: str) -> bool:
    """Whether the number may have rows on a day on which it is 0, since some of them are below zero."""
    is_signed = number.startswith(CORRECTIONS) or number == "revenue.earned"
    return is_signed or isinstance(SOURCES.get(number), Entries)


def as_json(found: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows for programs."""
    return [
        {
            "source": row.source,
            "id": row.id,
            "user_id": row.user_id,
            "at": row.at.astimezone(UTC).isoformat() if row.at else None,
            "key": row.key,
            "amount": row.amount,
            "day": row.day.isoformat() if row.day else None,
            "chapter": row.chapter,
            "ends_at": row.ends_at.astimezone(UTC).isoformat() if row.ends_at else None,
            "counted_on": row.counted_on.isoformat() if row.counted_on else None,
            "transaction_id": row.transaction_id,
            "kind": row.kind,
            "payment_id": row.payment_id,
            "payment_minor": row.payment_minor,
            "payment_reference": row.payment_reference,
            "age_days": row.age_days,
        }
        for row in found
    ]
