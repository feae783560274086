"""Bit rates as RFC 8216 defines them, from sizes and durations. Pure."""

import math
from collections.abc import Sequence
from fractions import Fraction


def peak_bits_per_second(sizes: Sequence[int], durations: Sequence[Fraction], target_seconds: int) -> int:
    """The largest rate of any run of segments that lasts between half and one and a half target durations.

    A last segment of one picture is thus seen together with its neighbour, as a player buffers it.
    """
    best = Fraction(0)
    for start in range(len(sizes)):
        bits, lasts = 0, Fraction(0)
        for size, duration in zip(sizes[start:], durations[start:], strict=True):
            bits, lasts = bits + 8 * size, lasts + duration
            if lasts > target_seconds * Fraction(3, 2):
                break
            if 2 * lasts >= target_seconds:
                best = max(best, bits / lasts)
    return math.ceil(best) or average_bits_per_second(sizes, durations)


def average_bits_per_second(sizes: Sequence[int], durations: Sequence[Fraction]) -> int:
    """All bits over all seconds."""
    return math.ceil(8 * sum(sizes) / (sum(durations) or Fraction(1)))
