"""The page of the rows behind a number, for people: what it is, the rows, and the sum of each page."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from zoneinfo import ZoneInfo

from services.stats.api.cached_response import CachedResponse
from services.stats.api.dashboard.i18n import Translations, words_of
from services.stats.api.dashboard.render import render
from services.stats.api.dashboard.view_model import is_for_operators
from services.stats.api.rows_query import RowsQuery
from services.stats.rows.read_page import Page, are_balances
from services.stats.rows.request_model import PAGE
from services.stats.rows.row import Row
from services.stats.sections.base import NONE, OTHERS, Unit
from services.stats.snapshots.compute import CORRECTIONS

#: So many rows stand on a page.
ROWS_SHOWN = 200
#: So many rows the API sends at most.
MAX_ROWS = 10 * PAGE
#: What the keys of rows are where the number itself has none.
_KEYS_OF_ROWS = {
    **{f"lessons.{name}": "course's id" for name in ("watched", "finished", "watch_time")},
    **dict.fromkeys(("attendance.check_ins", "attendance.expected", "subscriptions.mrr"), "chapter's id"),
    **{
        f"payments.{name}": "provider"
        for name in ("topped_up", "refunded", "charged_back", "disputes_open", "fees", "paid_out", "clearing")
    },
}


@dataclass(frozen=True, slots=True)
class RowView:
    """A row as it is read; what a row of its kind does not have is empty."""

    at: str
    user: str
    record: str
    #: Of the ledger: what kind of transaction it is, and its payment.
    movement: str
    payment: str
    payment_amount: str
    payment_reference: str
    key: str
    chapter: str
    ends_at: str
    closed_day: str
    #: Of a debt: for how many days there has been one.
    age: str
    #: In a range, where it is not the day of `at`.
    counted_on: str
    amount: str


@dataclass(frozen=True, slots=True)
class PartView:
    """One key of a breakdown, what it is, and the parameters of its rows."""

    name: str
    value: str
    link: str


@dataclass(frozen=True, slots=True)
class RowsView:
    """The rows, and the words above them."""

    name: str
    #: The day, or the range of days.
    when: str
    is_closed: bool
    key: str
    #: What the keys of the rows are.
    heading: str
    definition: str
    definition_language: str
    value: str
    amount: int | None
    rows: tuple[RowView, ...]
    sum: str
    sum_amount: int
    #: These are all of the rows, and do not add up to the number: facts have changed since it was computed.
    differs: bool
    #: The keys of a breakdown, the largest first; none where the rows are of one key.
    parts: tuple[PartView, ...] = ()


def rows_page(query: RowsQuery, page: Page, language: str) -> CachedResponse:
    """The page of some rows."""
    words = words_of(language)
    order = ("largest" if page.largest_first else "id") if are_balances(query.number) else None
    next_place = {"after": page.next or None, "after_day": _next_day(query, page), "order": order}
    given = {
        "data": {**query.place(), "order": order},
        "next": None if page.next is None else next_place,
        "view": _view_of(query, page, words),
        "query": query,
        "largest": MAX_ROWS,
    }
    return render("rows.html", language, day=query.day.day, **given, **_links(query))


def _next_day(query: RowsQuery, page: Page) -> date | None:
    return None if page.next_day == query.days[0].day else page.next_day


def no_rows_page(query: RowsQuery, language: str, reason: str) -> CachedResponse:
    """A page that says why there are none: `unknown`, `no_sum`, `no_range`, `slow` or `away`."""
    words, found = words_of(language), query.definition
    title = words.page[f"rows_{reason}"].format(number=words.number(found[0].name, found[1].name) if found else "")
    definition = words.definition(*found) if found else ("", language)
    about = {"title": title, "definition": definition[0], "definition_language": definition[1]}
    return render("no_rows.html", language, day=query.day.day, reason=reason, query=query, **about, **_links(query))


def _links(query: RowsQuery) -> Mapping[str, str]:
    found = query.definition
    is_operators = found is not None and is_for_operators(found[0].name, found[1].name)
    return {
        "with_view": "&view=operations" if is_operators else "",
        "carried": f"&{query.link(**query.place())}",
        "anchor": query.number if found else "numbers",
    }


def _when(query: RowsQuery, words: Translations) -> str:
    if not query.is_range:
        return words.day(query.day.day)
    first, last = (words.day(day.day, "long") for day in (query.days[0], query.day))
    return words.page["rows_range"].format(first=first, last=last)


def _names(query: RowsQuery) -> dict[str, dict[str, str]]:
    """What the days call chapters, courses and teachers; the last one says it where they differ."""
    found: dict[str, dict[str, str]] = {}
    for day in query.days:
        for kind, names in (day.payload.get("names") or {}).items():
            found.setdefault(kind, {}).update(names)
    return found


def _parts(query: RowsQuery, by: str, words: Translations) -> Iterator[PartView]:
    found, definition = query.figure, query.definition
    if query.key is not None or definition is None or not isinstance(found, dict):
        return
    names = _names(query)
    for key, amount in sorted(found.items(), key=lambda part: (part[0] == OTHERS, -abs(part[1]), part[0])):
        value = words.value(amount, definition[1].unit, query.day.payload["currency"])
        yield PartView(words.key(by, key, names), value, query.link(key=key))


def _in_order(query: RowsQuery, page: Page) -> Sequence[Row]:
    """Of what stands at a day's end the largest first, where one page has all of it."""
    if query.adds_up or not query.begins or page.next is not None:
        return page.rows
    return page.rows if page.largest_first else sorted(page.rows, key=lambda row: -abs(row.amount))


def _user(user_id: int | None, names: Mapping[int, str]) -> str:
    if user_id is None:
        return ""
    return f"{names[user_id]} ({user_id})" if user_id in names else str(user_id)


@dataclass(frozen=True, slots=True)
class _RowWriter:
    """Writes rows as they are read."""

    query: RowsQuery
    words: Translations
    unit: Unit
    #: What the keys are.
    by: str
    users: Mapping[int, str]
    names: Mapping[str, Mapping[str, str]]
    zone: ZoneInfo

    def write(self, row: Row) -> RowView:
        words, currency = self.words, self.query.day.payload["currency"]
        return RowView(
            words.short_moment(row.at, self.zone) if row.at else "",
            _user(row.user_id, self.users),
            self._record(row),
            words.movement(row.kind) if row.kind else "",
            str(row.payment_id or ""),
            words.value(row.payment_minor, Unit.MINOR, currency) if row.payment_minor is not None else "",
            row.payment_reference or "",
            words.key(self.by, NONE if row.key is None else row.key, self.names) if self.by else "",
            words.key("chapter's id", row.chapter, self.names) if row.chapter and self.by != "chapter's id" else "",
            words.short_moment(row.ends_at, self.zone) if row.ends_at else "",
            words.day(row.day, "medium") if row.day else "",
            "" if row.age_days is None else words.count(row.age_days),
            self._counted_on(row),
            words.value(row.amount, self.unit, currency),
        )

    def _counted_on(self, row: Row) -> str:
        is_known = row.at is not None and row.at.astimezone(self.zone).date() == row.counted_on
        if is_known or not self.query.is_range or row.counted_on is None:
            return ""
        return self.words.day(row.counted_on, "medium")

    def _record(self, row: Row) -> str:
        """One reference for all rows of a movement of money."""
        if row.transaction_id is not None:
            return f"{self.words.record('ledger_transactions')} {row.transaction_id}"
        return f"{self.words.record(row.source)} {row.id}"


def _view_of(query: RowsQuery, page: Page, words: Translations) -> RowsView:
    found = query.definition
    if found is None:
        raise ValueError(f"no number is called {query.number}")
    section, number = found
    name = words.number(section.name, number.name)
    if query.number.startswith(CORRECTIONS):
        name = f"{words.page['corrections']}: {name}"
    names, currency = _names(query), query.day.payload["currency"]
    by = number.by or _KEYS_OF_ROWS.get(f"{section.name}.{number.name}", "")
    zone, value, total = ZoneInfo(query.day.payload["zone"]), query.value, sum(row.amount for row in page.rows)

    writer = _RowWriter(query, words, number.unit, by, page.users, names, zone)
    definition, language = words.definition(section, number)
    return RowsView(
        name,
        _when(query, words),
        all(day.closed for day in query.days),
        "" if query.key is None else words.key(by, query.key, names),
        words.heading(by),
        definition,
        language,
        "–" if value is None else words.value(value, number.unit, currency),
        value,
        tuple(map(writer.write, _in_order(query, page))),
        words.value(total, number.unit, currency),
        total,
        query.begins and page.next is None and value is not None and total != value,
        tuple(_parts(query, by, words)),
    )
