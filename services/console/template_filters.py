"""Template filters: figures, times and durations, in the visitor's language."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from flask import Flask
from markupsafe import Markup

from services.console.i18n import (
    direction,
    isolated,
    mark,
    translate,
    write_count,
    write_day,
    write_decimal,
    write_instant,
    write_money,
)

_UNITS = (
    (mark("%(number)s d"), 86_400),
    (mark("%(number)s h"), 3_600),
    (mark("%(number)s min"), 60),
    (mark("%(number)s s"), 1),
)


def add_filters(app: Flask, zone: ZoneInfo) -> None:
    """Give the templates their filters."""

    def instant(value: datetime | None) -> str | Markup:
        return "–" if value is None else _left_to_right(write_instant(value.astimezone(zone)))

    app.add_template_filter(instant, "instant")
    app.add_template_filter(day, "day")
    app.add_template_filter(duration, "duration")
    app.add_template_filter(ago, "ago")
    app.add_template_filter(count, "count")
    app.add_template_filter(rate, "rate")
    app.add_template_filter(factor, "factor")
    app.add_template_filter(percent, "percent")
    app.add_template_filter(size, "size")
    app.add_template_filter(money, "money")
    app.jinja_env.globals["zone"] = zone.key


def day(value: date | None) -> str | Markup:
    return "–" if value is None else _left_to_right(write_day(value))


def duration(value: timedelta | float | None) -> str:
    """The largest unit with one decimal: 1.5 h."""
    if value is None:
        return "–"
    seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    for unit, length in _UNITS:
        if abs(seconds) >= length:
            return translate(unit, number=write_decimal(seconds / length))
    return translate("%(number)s ms", number=write_decimal(seconds * 1000, 0))


def ago(value: datetime | None) -> str:
    """How long since."""
    if value is None:
        return "–"
    return translate("%(duration)s ago", duration=duration(datetime.now(UTC) - value))


def count(value: int | None) -> str:
    """With thousands apart; a question mark where it is unknown."""
    return "?" if value is None else write_count(value)


def rate(value: float | None) -> str:
    """A rate per second."""
    return "?" if value is None else write_decimal(value)


def factor(value: float | None) -> str | Markup:
    """A speed factor, such as 2.0 ×."""
    return _left_to_right(f"{write_decimal(value)} ×") if value else "–"


def percent(value: float) -> str | Markup:
    return _left_to_right(f"{write_decimal(value, 0)} %")


def size(value: int | None) -> str:
    """In bytes, by thousands."""
    if value is None:
        return "–"
    number = float(value)
    for unit in (mark("%(number)s B"), mark("%(number)s kB"), mark("%(number)s MB")):
        if number < 1000:
            return translate(unit, number=write_decimal(number, 0))
        number /= 1000
    return translate("%(number)s GB", number=write_decimal(number))


def money(amount_minor: int, currency: str, with_sign: bool = False) -> str | Markup:
    """With the digits of ISO 4217."""
    return isolated(write_money(amount_minor, currency, with_sign))


def _left_to_right(text: Any) -> str | Markup:
    return Markup('<bdi dir="ltr">{}</bdi>').format(text) if direction() == "rtl" else text
