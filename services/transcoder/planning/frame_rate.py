"""Chooses the frame rate of the renditions. Pure."""

import itertools
import math
from fractions import Fraction

STANDARD = tuple(Fraction(text) for text in ("24000/1001", "24", "25", "30000/1001", "30", "50", "60000/1001", "60"))
#: Apple's limit for delivery, and the least at which a group of pictures of 2 s is worth the name.
HIGHEST, LOWEST = 60, 5
#: A film of pictures that each stand for longer is a slide show; its rate is never rounded to nothing.
SLOWEST = Fraction(1, 1000)


def source_rate(times: list[float], declared: list[Fraction]) -> tuple[Fraction, bool]:
    """The rate of pictures shown at `times`, and whether it varies. `declared` are the header's claims, best first."""
    claim = next((rate for rate in declared if 0 < rate <= 1000), Fraction(25))
    if len(times) < 3 or times[-1] <= times[0]:
        return snapped(claim), False
    steps = sorted(after - before for before, after in itertools.pairwise(times))
    median = steps[len(steps) // 2]
    measured = (len(times) - 1) / (times[-1] - times[0])
    # timestamps are whole milliseconds in some containers
    slack = max(0.0021, median * 0.3)
    if steps[-1] <= median + slack and steps[0] >= median - slack:
        near = next((rate for rate in declared if abs(float(rate) - measured) < 0.005 * measured), None)
        return snapped(near or Fraction(measured).limit_denominator(1001)), False
    base = 1 / median if median > 0 else measured
    nearest = min(STANDARD, key=lambda rate: abs(float(rate) - base))
    if abs(float(nearest) - base) < 0.06 * base:
        return nearest, True
    if base <= LOWEST:
        return Fraction(24), True
    return next((rate for rate in STANDARD if rate >= base * 0.98), STANDARD[-1]), True


def snapped(rate: Fraction) -> Fraction:
    """`rate`, or the standard rate that it means."""
    nearest = min(STANDARD, key=lambda standard: abs(standard - rate))
    return nearest if abs(nearest - rate) < Fraction(1, 50) else max(SLOWEST, rate.limit_denominator(1001))


def grid_shift(times: list[float], rate: Fraction) -> float:
    """How much later frames at `times` are shown, in the middle, once each is on a grid of `rate`.

    The first frame alone may lie: writers stretch it, and films that were joined go on in another phase.
    """
    late = sorted(math.floor(at * float(rate) + 0.5) / float(rate) - at for at in times)
    rare = len(late) // 20
    return round((late[rare] + late[-1 - rare]) / 2, 6) if late else 0.0


def output_rate(rate: Fraction, interlaced: bool) -> Fraction:
    """The rate of every rendition: each field of an interlaced picture becomes a picture; at most 60, at least 5."""
    if interlaced and rate <= 30:
        rate *= 2
    divisor = 1
    while rate / divisor > HIGHEST + Fraction(1, 10):
        divisor += 1
    factor = 1
    while rate * factor < LOWEST:
        factor += 1
    return snapped(rate / divisor * factor)
