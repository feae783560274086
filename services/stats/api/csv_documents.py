"""Days as CSV: one line for every day, number and key, for spreadsheets."""

import csv
import io
from collections.abc import Iterable, Iterator

from services.stats.api.cached_response import CachedResponse, document
from services.stats.api.snapshot_cache import Day
from services.stats.rows.read_page import as_json
from services.stats.rows.row import Row
from services.stats.sections.catalogue import find
from services.stats.snapshots.compute import CORRECTIONS, flatten

#: How a spreadsheet's formula begins.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
ROWS_HEADER = (
    "source", "id", "user_id", "at", "key", "amount", "day", "chapter", "ends_at", "counted_on", "transaction_id",
    "kind", "payment_id", "payment_minor", "payment_reference", "age_days",
)  # fmt: skip
#: What others than the school or Nouba write.
_WRITTEN_BY_OTHERS = ("key", "payment_reference")
HEADER = ("day", "number", "key", "value", "unit", "currency", "closed")


def csv_of(days: Iterable[Day]) -> CachedResponse:
    """The numbers of these days; a number that is kept by a key has a line for each."""
    written = io.StringIO()
    lines = csv.writer(written, lineterminator="\r\n")
    lines.writerow(HEADER)
    units = {f"{section.name}.{number.name}": str(number.unit) for section, number in find("")}
    for day in days:
        for name, key, value in _values(day):
            unit = units.get(name.removeprefix(CORRECTIONS), "")
            currency = day.payload["currency"] if unit == "minor" else ""
            lines.writerow((day.day, name, key, value, unit, currency, "true" if day.closed else "false"))
    return document(written.getvalue().encode(), "text/csv; charset=utf-8")


def rows_as_csv(rows: Iterable[Row]) -> CachedResponse:
    """The rows behind a number."""
    written = io.StringIO()
    lines = csv.writer(written, lineterminator="\r\n")
    lines.writerow(ROWS_HEADER)
    for row in as_json(list(rows)):
        row |= {name: _harmless(row[name]) for name in _WRITTEN_BY_OTHERS if row[name] is not None}
        lines.writerow([row[name] for name in ROWS_HEADER])
    return document(written.getvalue().encode(), "text/csv; charset=utf-8")


def _values(day: Day) -> Iterator[tuple[str, str, int]]:
    corrections = {f"{CORRECTIONS}{name}": value for name, value in day.payload.get("corrections", {}).items()}
    for name, value in (flatten(day.payload) | corrections).items():
        if isinstance(value, dict):
            yield from ((name, _harmless(key), amount) for key, amount in value.items())
        else:
            yield name, "", value


def _harmless(key: str) -> str:
    """A spreadsheet takes a text that begins like this for a formula; the last four are full-width forms."""
    return f"'{key}" if key.startswith(_FORMULA) else key
