"""Formats durations and sizes in a readable unit: 22 min, not 1,309,000 ms; 67 GB, not 66,919.4 MB."""

from decimal import ROUND_HALF_UP, Decimal

from services.stats.sections.base import Unit

#: Each unit with what it is of the next smaller one, from the smallest on.
_TIMES = (("ms", 1), ("s", 1000), ("min", 60), ("h", 60))
_SIZES = (("B", 1), ("kB", 1000), ("MB", 1000), ("GB", 1000), ("TB", 1000))
_STEPS = {Unit.MILLISECONDS: _TIMES, Unit.MINUTES: _TIMES[2:], Unit.BYTES: _SIZES}


def scaled(value: int, unit: Unit) -> tuple[Decimal, str]:
    """The value in a larger unit, with one decimal below ten of it, and the unit's short name."""
    amount, name = Decimal(value), ""
    for place, (one, factor) in enumerate(_STEPS[unit]):
        if place and abs(amount) < factor:
            break
        amount, name = amount / (factor if place else 1), one
    is_smallest = name == _STEPS[unit][0][0]
    digits = Decimal("0.1") if abs(amount) < 10 and not is_smallest else Decimal(1)
    return amount.quantize(digits, ROUND_HALF_UP), name
