"""Rolls days up into weeks, months and years: sums, and for balances the last day's value."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from services.stats.api.series import closed_until, failures, generated_at
from services.stats.api.snapshot_cache import Day
from services.stats.sections.base import OTHERS
from services.stats.sections.catalogue import Over, find, over

#: The first month of a school year. A week begins on Sunday, as in Algerian schools and offices.
SCHOOL_YEAR_BEGINS = 9

Values = list[int | None]


def begin_of(day: date, step: str) -> date:
    """The first day of the week (Sunday), month, year or school year that a day lies in."""
    match step:
        case "week":
            return day - timedelta(days=day.isoweekday() % 7)
        case "month":
            return day.replace(day=1)
        case "year":
            return day.replace(month=1, day=1)
        case _:
            year = day.year if day.month >= SCHOOL_YEAR_BEGINS else day.year - 1
            return date(year, SCHOOL_YEAR_BEGINS, 1)


def periods(days: Mapping[date, Day | None], step: str) -> dict[str, Any]:
    """A list for every number with a value a period; the first and the last one may lack days that were not asked for.

    A sum is null where one of its days is not kept, or lacks the number; what says nothing of a period is left out.
    """
    parts = list(_cut(list(days), step))
    kept = [found for found in days.values() if found]
    return {
        "from": min(days).isoformat(),
        "to": max(days).isoformat(),
        "step": step,
        "periods": [
            {"from": part[0].isoformat(), "to": part[-1].isoformat(), "closed": _is_closed(days, part)}
            for part in parts
        ],
        "missing": [day.isoformat() for day, found in days.items() if found is None],
        "failed": {
            day.isoformat(): failures(found.payload) for day, found in days.items() if found and not found.complete
        },
        "currency": kept[-1].payload["currency"] if kept else None,
        "closed_until": closed_until(days),
        "generated_at": generated_at(days),
        "corrections": _corrections(days, parts),
        "sections": _sections(days, parts),
    }


def _is_closed(days: Mapping[date, Day | None], part: Sequence[date]) -> bool:
    return all(found is not None and found.closed for found in (days[day] for day in part))


def _corrections(days: Mapping[date, Day | None], parts: Sequence[Sequence[date]]) -> dict[str, Any]:
    """What is booked in each period for facts of closed months that came later; beside the period's own numbers."""
    booked = {day: found.payload.get("corrections", {}) for day, found in days.items() if found}
    totals: dict[str, Any] = {}
    for name in sorted({name for numbers in booked.values() for name in numbers}):
        of_parts = [[booked.get(day, {}).get(name, 0) for day in part] for part in parts]
        if not any(isinstance(value, dict) for part in of_parts for value in part):
            totals[name] = [sum(part) for part in of_parts]
            continue
        filled = [[value if isinstance(value, dict) else {} for value in part] for part in of_parts]
        keys = sorted({key for part in filled for value in part for key in value})
        totals[name] = {key: [sum(value.get(key, 0) for value in part) for part in filled] for key in keys}
    return totals


def _cut(days: Sequence[date], step: str) -> Iterator[list[date]]:
    part: list[date] = []
    for day in days:
        if part and begin_of(day, step) != begin_of(part[0], step):
            yield part
            part = []
        part.append(day)
    yield part


def _sections(days: Mapping[date, Day | None], parts: Sequence[Sequence[date]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for section, number in find(""):
        how = over(f"{section.name}.{number.name}")
        values = {day: _number(one, section.name, number.name) for day, one in days.items()}
        if how is Over.NOTHING or not any(value is not None for value in values.values()):
            continue
        of_parts = [[values[day] for day in part] for part in parts]
        numbers = found.setdefault(section.name, {"numbers": {}})["numbers"]
        numbers[number.name] = _by_key(of_parts, how) if number.by else [_one(part, how) for part in of_parts]
    return found


def add_up(values: Sequence[Mapping[str, int] | None]) -> dict[str, int] | None:
    """The sum of a breakdown over days, which is the sum of its keys; None where a day lacks it.

    A key that one of the days does not name, and has `~others`, is in the sum's `~others` with all of its amounts.
    """
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    unnamed = {key for value in known for key in value} - {OTHERS}
    unnamed = {key for key in unnamed if any(OTHERS in value and key not in value for value in known)}
    found: dict[str, int] = {}
    for value in known:
        for key, amount in value.items():
            name = OTHERS if key in unnamed else key
            found[name] = found.get(name, 0) + amount
    return found


def _by_key(parts: Sequence[Sequence[Any]], how: Over) -> dict[str, Values]:
    found = [(part[-1] if how is Over.LAST else add_up(part)) for part in parts]
    keys = sorted({key for part in parts for value in part for key in value or ()})
    return {key: [_part(value, key) for value in found] for key in keys}


def _part(value: Mapping[str, int] | None, key: str) -> int | None:
    if value is None:
        return None
    return value.get(key, None if OTHERS in value else 0)


def _one(values: Sequence[int | None], how: Over) -> int | None:
    if how is Over.LAST:
        return values[-1]
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _number(day: Day | None, section: str, name: str) -> Any:
    return day.payload["sections"].get(section, {}).get("numbers", {}).get(name) if day else None
