"""View model of the dashboard: each number with definition, history and change."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from services.stats.api.comparison import before
from services.stats.api.dashboard.i18n import Translations
from services.stats.api.dashboard.rates import written_parts
from services.stats.api.dashboard.sparkline import Sparkline, sparkline
from services.stats.api.dashboard.statements import Statement, bridges, owed, signed, value_of
from services.stats.api.rollup import begin_of
from services.stats.api.snapshot_cache import Day, SnapshotCache
from services.stats.rows.read_page import has_rows
from services.stats.sections import SECTIONS
from services.stats.sections.base import OTHERS, MetricDefinition, Section, Unit, rounded
from services.stats.sections.catalogue import Over, find, over

SPARK_DAYS = 30
#: So many keys of a breakdown are shown at once; the rest is behind a line that says how much it is.
SHOWN_KEYS = 6
#: What stands at the top.
OVERVIEW = (
    "revenue.net",
    "payments.cash_in",
    "subscriptions.students",
    "lessons.watched",
    "subscriptions.mrr",
    "engagement.daily",
    "attendance.check_ins",
)
#: The numbers for operators have a page of their own.
VIEWS = ("school", "operations")
_OPERATORS_SECTIONS = ("platform",)
_OPERATORS_NUMBERS = frozenset(
    {
        *(f"payments.{name}" for name in ("credited", "credit_p50", "credit_p95", "credit_max")),
        *(f"content.{name}" for name in ("video_bytes", "uploaded_bytes", "transcodings", "videos_by_status")),
        *(f"content.transcode_{name}" for name in ("p50", "p95", "max")),
    }
)
#: Numbers of which fewer are better; of most of the others more are.
_LESS_IS_BETTER = frozenset(
    {
        *(f"payments.{name}" for name in ("pending", "failed", "refunded", "charged_back")),
        *(f"payments.{name}" for name in ("disputes_open", "fees", "other_currency", "office_returned")),
        "revenue.returned",
        *(f"wallets.{name}" for name in ("debt", "debtors")),
        *(f"payments.credit_{name}" for name in ("p50", "p95", "max")),
        *(f"subscriptions.{name}" for name in ("ended", "expiring_7", "expiring_30", "pending", "mrr_contraction")),
        *(f"subscriptions.{name}" for name in ("mrr_churn", "subscribers_lost", "customer_churn_30")),
        *(f"subscriptions.{name}_mrr_churn_30" for name in ("gross", "net")),
        *(f"content.transcode_{name}" for name in ("p50", "p95", "max")),
        *(f"platform.{name}" for name in ("webhooks_unsigned", "jobs_quarantined", "jobs_dead", "jobs_retried")),
    }
)


#: What the school owes or holds for others, or others for it: that it grows is neither good nor bad.
_NEITHER = frozenset(
    {
        *(f"wallets.{name}" for name in ("credit", "total", "mean", "adjusted")),
        *("revenue.deferred", "payments.clearing", "payments.paid_out"),
    }
)


@dataclass(frozen=True, slots=True)
class Change:
    """Against one earlier day; `sign` is up, down or same, `mood` is good, bad or even."""

    label: str
    short: str
    text: str
    sign: str
    mood: str
    then: str


@dataclass(frozen=True, slots=True)
class Share:
    """One key of a breakdown, and its share of the whole in hundredths."""

    name: str
    key: str
    value: str
    share: float
    share_text: str
    negative: bool


@dataclass(frozen=True, slots=True)
class ToDate:
    """What has added up from the day `first` on."""

    label: str
    value: str
    first: date


@dataclass(frozen=True, slots=True)
class Shown:
    """One number; `value` of a breakdown is empty, and `parts` of any other."""

    id: str
    name: str
    definition: str
    definition_language: str
    value: str
    spark: Sparkline | None
    spark_text: str
    changes: tuple[Change, ...]
    parts: tuple[Share, ...]
    #: What is not shown at once, and how much it is together.
    rest: tuple[Share, ...]
    more: str
    #: Whether it leads to rows that add up to it.
    has_rows: bool = False
    #: What the keys of a breakdown are.
    heading: str = ""
    #: What has added up in the week (from Sunday), the month and the school year so far, where every day of it is kept.
    to_date: tuple[ToDate, ...] = ()
    #: Of a rate, how many of how many it is.
    of: str = ""


@dataclass(frozen=True, slots=True)
class SectionView:
    """One section: its plain numbers, and its breakdowns; or why it could not be counted."""

    id: str
    name: str
    numbers: tuple[Shown, ...] = ()
    breakdowns: tuple[Shown, ...] = ()
    #: The names of what has no value on this day.
    absent: tuple[str, ...] = ()
    failed: str = ""
    #: How its balances got from opening to closing.
    bridges: tuple[Statement, ...] = ()


@dataclass(frozen=True, slots=True)
class Correction:
    """What is booked here of a number, or of one of its keys, for facts of closed months."""

    id: str
    key: str
    name: str
    months: str
    value: str


@dataclass(frozen=True, slots=True)
class Corrections:
    """Those of one number; `more` says how much the `rest` is, which is not shown at once."""

    shown: tuple[Correction, ...]
    rest: tuple[Correction, ...]
    more: str


@dataclass(frozen=True, slots=True)
class PageView:
    """All of it."""

    overview: tuple[Shown, ...]
    sections: tuple[SectionView, ...]
    corrections: tuple[Corrections, ...] = ()
    #: The last closed day, and the last day on which corrections are booked.
    closed_until: date | None = None
    corrected_on: date | None = None
    #: What the school owes.
    owed: Statement | None = None


def is_for_operators(section: str, number: str) -> bool:
    """Whether the number stands on the operators' page, and on no other."""
    return section in _OPERATORS_SECTIONS or f"{section}.{number}" in _OPERATORS_NUMBERS


def view_of(cache: SnapshotCache, day: Day, words: Translations, view: str = "school") -> PageView:
    """What the page of `day` shows to the school, or to operators."""
    history = list(cache.between(day.day - timedelta(days=SPARK_DAYS - 1), day.day).values())
    earlier = {name: (then, cache.days.get(then)) for name, then in before(day.day).items()}
    reader = _Reader(cache, day, history, earlier, words, view)
    sections = tuple(filter(None, (reader.section(section) for section in SECTIONS)))
    shown = {number.id: number for section in sections for number in section.numbers}
    cards = (shown[name] for name in OVERVIEW if name in shown)
    closed_until = max((one for one, kept in cache.days.items() if kept.closed), default=None)
    corrected_on = max((one for one, kept in cache.days.items() if kept.payload.get("corrections")), default=None)
    corrections = tuple(_corrections(day, words, view))
    due = owed(day, words) if view == "school" else None
    return PageView(tuple(cards), sections, corrections, closed_until, corrected_on, due)


def _corrections(day: Day, words: Translations, view: str) -> Iterator[Corrections]:
    currency = day.payload["currency"]
    for name, value in day.payload.get("corrections", {}).items():
        (section, number), *_ = find(name)
        if is_for_operators(section.name, number.name) != (view == "operations"):
            continue
        text = words.number(section.name, number.name)
        parts = value if isinstance(value, dict) else {"": value}
        ordered = sorted(parts.items(), key=lambda part: -abs(part[1]))
        found = []
        for key, amount in ordered:
            label = f"{text}: {words.key(number.by or '', key, day.payload.get('names'))}" if key else text
            of = day.payload.get("corrected_months", {}).get(name, {})
            months = ", ".join(words.month(month) for month in (of.get(key, ()) if key else of))
            found.append(Correction(name, key, label, months, words.value(amount, number.unit, currency)))
        more = _more([amount for _, amount in ordered[SHOWN_KEYS:]], number, words, currency)
        yield Corrections(tuple(found[:SHOWN_KEYS]), tuple(found[SHOWN_KEYS:]), more and f"{text}: {more}")


def _more(rest: list[int], number: MetricDefinition, words: Translations, currency: str) -> str:
    if not rest:
        return ""
    value = words.value(sum(rest), number.unit, currency)
    return words.page["more"].format(count=words.count(len(rest)), value=value)


@dataclass(frozen=True, slots=True)
class _Reader:
    cache: SnapshotCache
    day: Day
    history: list[Day | None]
    earlier: Mapping[str, tuple[date, Day | None]]
    words: Translations
    view: str

    def section(self, section: Section) -> SectionView | None:
        ours = [
            number
            for number in section.numbers
            if is_for_operators(section.name, number.name) == (self.view == "operations")
        ]
        if not ours:
            return None
        if reason := self.day.payload["sections"].get(section.name, {}).get("failed"):
            return SectionView(section.name, self.words.section(section.name), failed=reason)
        shown = [
            (number, self._number(section, number)) for number in ours if _value(self.day, section, number) is not None
        ]
        plain = tuple(found for number, found in shown if not number.by)
        broken_down = tuple(found for number, found in shown if number.by)
        known = {number for number, _ in shown}
        absent = tuple(self.words.number(section.name, number.name) for number in ours if number not in known)
        found = SectionView(section.name, self.words.section(section.name), plain, broken_down, absent)
        return replace(found, bridges=tuple(bridges(self.cache, self.day, section.name, self.words)))

    def _number(self, section: Section, number: MetricDefinition) -> Shown:
        words, value = self.words, _value(self.day, section, number)
        definition, language = words.definition(section, number)
        spark, text, more, value_text = None, "", "", ""
        changes: tuple[Change, ...] = ()
        parts: tuple[Share, ...] = ()
        rest: tuple[Share, ...] = ()
        if isinstance(value, dict):
            parts, more = self._parts(number, value)
            parts, rest = parts[:SHOWN_KEYS], parts[SHOWN_KEYS:]
        elif value is not None:
            value_text = self._value_text(value, number)
            spark = sparkline([_value(day, section, number) for day in self.history])
            if spark:
                text = words.page["spark"].format(
                    low=self._value_text(spark.low, number), high=self._value_text(spark.high, number)
                )
            changes = tuple(self._change(name, section, number, value) for name in self.earlier)
        name = words.number(section.name, number.name)
        found = f"{section.name}.{number.name}"
        return Shown(
            *(found, name, definition, language, value_text, spark, text, changes, parts, rest, more, has_rows(found)),
            heading=words.heading(number.by) if number.by else "",
            to_date=self._to_date(section, number),
            of=written_parts(self.cache, self.day, found, words),
        )

    def _to_date(self, section: Section, number: MetricDefinition) -> tuple[ToDate, ...]:
        """Of what adds up: all of it on a card and of a breakdown, of other amounts the month and the school year."""
        name = f"{section.name}.{number.name}"
        has_all = name in OVERVIEW or number.by is not None
        steps = ("week", "month", "school_year") if has_all else ("month", "school_year")
        if over(name) is not Over.SUM or not (has_all or number.unit is Unit.MINOR):
            return ()
        found = []
        for step in steps:
            first = begin_of(self.day.day, step)
            days = self.cache.between(first, self.day.day).values()
            known = [_total(value) for one in days if (value := _value(one, section, number)) is not None]
            if len(known) == len(days):
                label = self.words.page[f"{step}_to_date"].format(first=self.words.day(first, "medium"))
                found.append(ToDate(label, self._value_text(sum(known), number), first))
        return tuple(found)

    def _value_text(self, value: int, number: MetricDefinition) -> str:
        return self.words.value(value, number.unit, self.day.payload["currency"])

    def _change(self, name: str, section: Section, number: MetricDefinition, now: int) -> Change:
        words, (then, kept) = self.words, self.earlier[name]
        label, short = words.page[name], words.page[f"{name}_short"]
        earlier = _value(kept, section, number)
        if earlier is None:
            return Change(label, short, "–", "none", "even", words.page["absent"])
        text = words.page["then"].format(day=words.day(then, "long"), value=self._value_text(earlier, number))
        if now == earlier:
            return Change(label, short, "=", "same", "even", f"{words.page['unchanged']}. {text}")
        name_of_number, sign = f"{section.name}.{number.name}", "up" if now > earlier else "down"
        is_better = (now > earlier) != (name_of_number in _LESS_IS_BETTER)
        mood = "even" if name_of_number in _NEITHER else "good" if is_better else "bad"
        return Change(label, short, self._difference(now, earlier, number), sign, mood, text)

    def _difference(self, now: int, earlier: int, number: MetricDefinition) -> str:
        """A ratio differs by points, anything else by a share of what it was; by itself where that was nothing."""
        words, change = self.words, now - earlier
        if number.unit is Unit.BASIS_POINTS:
            points = words.decimal(Decimal(change).scaleb(-2), "+#,##0.0;−#,##0.0")
            return words.directed(f"{points}\u00a0{words.page['points']}")
        if earlier > 0:
            share = rounded(10_000 * change, earlier)
            pattern = "+#,##0.0\u00a0%;−#,##0.0\u00a0%" if abs(share) < 10_000 else "+#,##0\u00a0%;−#,##0\u00a0%"
            return words.percent(share, pattern)
        return signed(change, number.unit, self.day.payload["currency"], words)

    def _parts(self, number: MetricDefinition, value: dict[str, int]) -> tuple[tuple[Share, ...], str]:
        whole = sum(abs(amount) for amount in value.values()) or 1
        ordered = sorted(value.items(), key=lambda item: (item[0] == OTHERS, -abs(item[1]), item[0]))
        shown = tuple(
            Share(
                self.words.key(number.by or "", key, self.day.payload.get("names")),
                key,
                self._value_text(amount, number),
                round(100 * abs(amount) / whole, 1),
                self.words.percent(rounded(10_000 * abs(amount), whole), "#,##0\u00a0%"),
                amount < 0,
            )
            for key, amount in ordered
        )
        rest = [amount for _, amount in ordered[SHOWN_KEYS:]]
        return shown, _more(rest, number, self.words, self.day.payload["currency"])


def _total(value: int | dict[str, int]) -> int:
    return sum(value.values()) if isinstance(value, dict) else value


def _value(day: Day | None, section: Section, number: MetricDefinition) -> Any:
    return value_of(day, f"{section.name}.{number.name}")
