"""Time series of every number over a range of days."""

from collections.abc import Mapping
from datetime import UTC, date
from typing import Any

from services.stats.api.snapshot_cache import Day
from services.stats.sections.base import OTHERS

Values = list[int | None]


def series(days: Mapping[date, Day | None]) -> dict[str, Any]:
    """A list where a day has a number; null for a day that is not kept or does not have it."""
    payloads = [day.payload if day else None for day in days.values()]
    kept = [payload for payload in payloads if payload]
    corrected = [{"corrections": {}, **payload} if payload else None for payload in payloads]
    names: dict[str, set[str]] = {}
    for payload in kept:
        for section, found in payload["sections"].items():
            names.setdefault(section, set()).update(found.get("numbers", {}))
    return {
        "from": min(days).isoformat(),
        "to": max(days).isoformat(),
        "days": [day.isoformat() for day in days],
        "missing": [day.isoformat() for day, found in days.items() if found is None],
        "failed": {
            day.isoformat(): failures(found.payload)
            for day, found in days.items()
            if found is not None and not found.complete
        },
        "currency": kept[-1]["currency"] if kept else None,
        "closed_until": closed_until(days),
        "generated_at": generated_at(days),
        "corrections": {
            name: _over_keys([payload["corrections"].get(name, 0) if payload else None for payload in corrected])
            for name in sorted({name for payload in corrected if payload for name in payload["corrections"]})
        },
        "sections": {
            section: {"numbers": {name: _over(payloads, section, name) for name in found}}
            for section, found in names.items()
        },
    }


def closed_until(days: Mapping[date, Day | None]) -> str | None:
    """The last of the days that is closed."""
    closed = [day for day, found in days.items() if found and found.closed]
    return max(closed).isoformat() if closed else None


def generated_at(days: Mapping[date, Day | None]) -> str | None:
    """When the newest of the days' versions was computed."""
    moments = [found.computed_at for found in days.values() if found]
    return max(moments).astimezone(UTC).isoformat(timespec="seconds") if moments else None


def failures(payload: Mapping[str, Any]) -> dict[str, str]:
    """Why sections of a day could not be counted, by their names."""
    return {name: found["failed"] for name, found in payload["sections"].items() if "failed" in found}


def _over(payloads: list[dict[str, Any] | None], section: str, name: str) -> Values | dict[str, Values]:
    return _over_keys([_number(payload, section, name) for payload in payloads])


def _over_keys(values: list[Any]) -> Values | dict[str, Values]:
    if not any(isinstance(value, dict) for value in values):
        return values
    return {
        key: [_part(value or {}, key) if value is not None else None for value in values]
        for key in sorted({key for value in values for key in value or ()})
    }


def _number(payload: dict[str, Any] | None, section: str, name: str) -> Any:
    found = payload["sections"].get(section, {}) if payload else {}
    return found.get("numbers", {}).get(name)


def _part(breakdown: dict[str, int] | None, key: str) -> int | None:
    """A breakdown leaves zeros out; where it adds up the rest under one name, nothing is known of a missing key."""
    if breakdown is None:
        return None
    return breakdown.get(key, None if OTHERS in breakdown else 0)
