"""The page of the rows behind a number, for people: what it is, the rows, and the sum of each page."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from services.stats.api.cached_response import CachedResponse
from services.stats.api.dashboard.i18n import Translations, words_of
from services.stats.api.dashboard.render import render
from services.stats.api.dashboard.view_model import is_for_operators
from services.stats.api.snapshot_cache import Day
from services.stats.rows.read_page import Page
from services.stats.rows.request_model import PAGE
from services.stats.rows.row import Row
from services.stats.sections.base import NONE, MetricDefinition, Section
from services.stats.sections.catalogue import find
from services.stats.snapshots.compute import CORRECTIONS, value_of

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
class RowsQuery:
    """What the page is of: the rows of a number, or of one of its keys, from the row after `after` on."""

    day: Day
    number: str
    key: str | None
    after: int

    @property
    def definition(self) -> tuple[Section, MetricDefinition] | None:
        """The number, or the one whose corrections they are; None where there is none of that name."""
        wanted = self.number.removeprefix(CORRECTIONS)
        return next((one for one in find(wanted) if f"{one[0].name}.{one[1].name}" == wanted), None)

    @property
    def value(self) -> int | None:
        """What the day says; None where it does not have the number."""
        found = value_of(self.day.payload, self.number)
        if not isinstance(found, dict):
            return found if found is None else int(found)
        return sum(found.values()) if self.key is None else found.get(self.key, 0)

    @property
    def named(self) -> tuple[str, ...]:
        """The keys that the day names."""
        found = value_of(self.day.payload, self.number)
        return tuple(found) if isinstance(found, dict) else ()

    def link(self, **more: Any) -> str:
        """The parameters of an address of the same rows, without the day."""
        given = {"number": self.number} | ({} if self.key is None else {"key": self.key}) | more
        return urlencode(given)


@dataclass(frozen=True, slots=True)
class RowView:
    """A row as it is read; what a row of its kind does not have is empty."""

    at: str
    user: str
    record: str
    key: str
    chapter: str
    ends_at: str
    closed_day: str
    amount: str


@dataclass(frozen=True, slots=True)
class RowsView:
    """The rows, and the words above them."""

    name: str
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


def rows_page(query: RowsQuery, page: Page, language: str) -> CachedResponse:
    """The page of some rows."""
    words = words_of(language)
    given = {"view": _view_of(query, page, words), "kept": query.day, "next": page.next, "query": query}
    given["largest"] = MAX_ROWS
    return render("rows.html", language, day=query.day.day, **given, **_links(query))


def no_rows_page(query: RowsQuery, language: str, reason: str) -> CachedResponse:
    """A page that says why there are none: `unknown`, `no_sum`, `slow` or `away`."""
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
        "carried": f"&{query.link(**({'after': query.after} if query.after else {}))}",
        "anchor": query.number if found else "numbers",
    }


def _user(user_id: int | None, names: Mapping[int, str]) -> str:
    if user_id is None:
        return ""
    return f"{names[user_id]} ({user_id})" if user_id in names else str(user_id)


def _view_of(query: RowsQuery, page: Page, words: Translations) -> RowsView:
    found = query.definition
    if found is None:
        raise ValueError(f"no number is called {query.number}")
    section, number = found
    name = words.number(section.name, number.name)
    if query.number.startswith(CORRECTIONS):
        name = f"{words.page['corrections']}: {name}"
    names, currency = query.day.payload.get("names"), query.day.payload["currency"]
    by = number.by or _KEYS_OF_ROWS.get(f"{section.name}.{number.name}", "")
    zone, value, total = ZoneInfo(query.day.payload["zone"]), query.value, sum(row.amount for row in page.rows)

    def shown(row: Row) -> RowView:
        return RowView(
            words.short_moment(row.at, zone) if row.at else "",
            _user(row.user_id, page.users),
            f"{words.record(row.source)} {row.id}",
            words.key(by, NONE if row.key is None else row.key, names) if by else "",
            words.key("chapter's id", row.chapter, names) if row.chapter and by != "chapter's id" else "",
            words.short_moment(row.ends_at, zone) if row.ends_at else "",
            words.day(row.day, "medium") if row.day else "",
            words.value(row.amount, number.unit, currency),
        )

    definition, language = words.definition(section, number)
    return RowsView(
        name,
        "" if query.key is None else words.key(by, query.key, names),
        words.heading(by),
        definition,
        language,
        "–" if value is None else words.value(value, number.unit, currency),
        value,
        tuple(shown(row) for row in page.rows),
        words.value(total, number.unit, currency),
        total,
        query.after == 0 and page.next is None and value is not None and total != value,
    )
