"""Languages of the dashboard: translations, numbers and dates."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_date, format_skeleton, format_timedelta
from babel.numbers import format_decimal, format_percent

from services.stats.humanize import scaled
from services.stats.sections.base import MetricDefinition, Section, Unit
from shared.runtime.languages import format_money, locale_of

_FOLDER = Path(__file__).parent.parent / "translations"
_LRM, _RLM = "\u200e", "\u200f"
_SIGNED = re.compile(r"[-+−]\d[\d.,]*(?:\u00a0%)?|\d[\d.,]*\u00a0%")
_ARABIC_LETTER = re.compile(r"[\u0621-\u064a]")


@cache
def words_of(language: str) -> "Translations":
    """The words of one of LANGUAGES."""
    found = tomllib.loads((_FOLDER / f"{language}.toml").read_text(encoding="utf-8"))
    return Translations(language, locale_of(language), found)


@dataclass(frozen=True, slots=True)
class Translations:
    """One language."""

    language: str
    locale: Locale
    _found: Mapping[str, Any]

    @property
    def direction(self) -> str:
        return self.locale.text_direction

    @property
    def page(self) -> Mapping[str, str]:
        """The phrases of the page itself."""
        found: Mapping[str, str] = self._found["page"]
        return found

    @property
    def units(self) -> Mapping[str, str]:
        """The short names of durations and sizes."""
        found: Mapping[str, str] = self._found["units"]
        return found

    def section(self, section: str) -> str:
        return str(self._found["sections"].get(section, section))

    def number(self, section: str, number: str) -> str:
        """The name of a number; its id where a newer version of the statistics has one that is not translated."""
        return str(self._entry(section, number).get("name", f"{section}.{number}"))

    def definition(self, section: Section, number: MetricDefinition) -> tuple[str, str]:
        """The definition of a number, and the language it is in."""
        translated = self._entry(section.name, number.name).get("definition")
        return (translated, self.language) if translated else (number.definition, "en")

    def key(self, by: str, key: str, names: Mapping[str, Mapping[str, str]] | None = None) -> str:
        """What a breakdown's key is called: the school's own name with the id beside it, where it has one."""
        kind = by.removesuffix("'s id")
        pattern = self._found["ids"].get(kind)
        if pattern and key.isdigit():
            name = (names or {}).get(kind, {}).get(key)
            return f"{name} ({key})" if name else str(pattern).format(id=key)
        return str(self._found["keys"].get(key, key))

    def heading(self, by: str) -> str:
        """What the keys of a breakdown are."""
        return str(self._found["headings"].get(by, by))

    def day(self, day: date, form: str = "full") -> str:
        written = format_date(day, form, locale=self.locale)
        # CLDR leaves out that in French the first day of a month, and no other, is an ordinal
        return re.sub(r"\b1(?=\s)", "1er", written, count=1) if self.language == "fr" and day.day == 1 else written

    def month(self, month: str) -> str:
        """A month that is written as YYYY-MM."""
        return format_skeleton("yMMMM", date.fromisoformat(f"{month}-01"), locale=self.locale)

    def moment(self, moment: datetime, zone: ZoneInfo) -> str:
        return self._moment(moment.astimezone(zone), "long")

    def short_moment(self, moment: datetime, zone: ZoneInfo) -> str:
        return self._moment(moment.astimezone(zone), "medium")

    def _moment(self, local: datetime, form: str) -> str:
        return self.page["moment"].format(day=self.day(local.date(), form), time=f"{local:%H:%M}")

    def record(self, table: str) -> str:
        """What a row of this table is called; the table's own name where a newer version has one."""
        return str(self._found["records"].get(table, table))

    def movement(self, kind: str) -> str:
        """What a kind of ledger transaction is called; its own name where a newer version has one."""
        return str(self._found["movements"].get(kind, kind))

    def count(self, value: int) -> str:
        return format_decimal(value, locale=self.locale)

    def days(self, number: int) -> str:
        """So many days, in the plural that the language has for them."""
        # format_unit has no Arabic days
        return format_timedelta(timedelta(days=number), "day", threshold=1000, locale=self.locale)

    def decimal(self, value: Decimal, pattern: str) -> str:
        return format_decimal(value, pattern, locale=self.locale)

    def percent(self, basis_points: int, pattern: str = "#,##0.0\u00a0%") -> str:
        return self.directed(format_percent(Decimal(basis_points).scaleb(-4), pattern, locale=self.locale))

    def money(self, amount_minor: int, currency: str) -> str:
        return self.directed(format_money(amount_minor, currency, self.language))

    def directed(self, written: str) -> str:
        """In Arabic a number runs to the right with its sign or percent, wherever it stands, and its unit follows."""
        if self.direction == "ltr":
            return written
        marked = _SIGNED.sub(rf"{_LRM}\g<0>{_LRM}", written)
        return f"{_RLM}{marked.lstrip(_RLM)}" if _ARABIC_LETTER.search(marked) else marked

    def value(self, value: int, unit: Unit, currency: str) -> str:
        """A number with its unit."""
        match unit:
            case Unit.MINOR:
                return self.money(value, currency)
            case Unit.BASIS_POINTS:
                return self.percent(value)
            case Unit.HUNDREDTHS:
                return self.directed(self.decimal(Decimal(value).scaleb(-2), "#,##0.00"))
            case Unit.MILLISECONDS | Unit.MINUTES | Unit.BYTES:
                amount, name = scaled(value, unit)
                return self.directed(f"{self.decimal(amount, '#,##0.#')}\u00a0{self.units[name]}")
            case _:
                return self.directed(self.count(value))

    def _entry(self, section: str, number: str) -> Mapping[str, str]:
        found: Mapping[str, str] = self._found["numbers"].get(section, {}).get(number, {})
        return found
