"""Template filters: figures, times and durations."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from flask import Flask

from shared.runtime.currency import format_minor

_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def teach(app: Flask, zone: ZoneInfo) -> None:
    """Give the templates their filters."""

    def instant(value: datetime | None) -> str:
        return "–" if value is None else f"{value.astimezone(zone):%Y-%m-%d %H:%M:%S}"

    app.add_template_filter(instant, "instant")
    app.add_template_filter(duration, "duration")
    app.add_template_filter(ago, "ago")
    app.add_template_filter(count, "count")
    app.add_template_filter(rate, "rate")
    app.add_template_filter(size, "size")
    app.add_template_filter(format_minor, "money")
    app.jinja_env.globals["zone"] = zone.key


def duration(value: timedelta | float | None) -> str:
    """The largest unit with one decimal: 1.5 h."""
    if value is None:
        return "–"
    seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    for unit, length in _UNITS:
        if abs(seconds) >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds * 1000:.0f} ms"


def ago(value: datetime | None) -> str:
    """How long since."""
    return "–" if value is None else f"{duration(datetime.now(UTC) - value)} ago"


def count(value: int | None) -> str:
    """With thousands apart; a question mark where it is unknown."""
    return "?" if value is None else f"{value:,}".replace(",", "\u202f")


def rate(value: float | None) -> str:
    """A second."""
    return "?" if value is None else f"{value:.1f}"


def size(value: int | None) -> str:
    """In bytes, by thousands."""
    if value is None:
        return "–"
    number = float(value)
    for unit in ("B", "kB", "MB"):
        if number < 1000:
            return f"{number:.0f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"
