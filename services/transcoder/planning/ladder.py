"""Chooses the renditions of a picture: by its short side, never larger than the source. Pure."""

import math
from dataclasses import dataclass
from fractions import Fraction

from services.transcoder.planning.geometry import even

#: Short side: constant rate factor, ceiling of the bit rate in kbit/s.
STEPS = {1080: (23, 6000), 720: (23, 3000), 480: (23, 1400), 360: (23, 800), 240: (23, 400)}
#: A source this much larger than the best step gets a rendition of its own size: 718 lines are not shown as 480.
OWN_SIZE_FROM = 1.1
#: What H.264 level 5.2 decoders must take at 60 pictures a second.
MAX_SIDE = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class LadderRung:
    """One rendition. `name` is its folder: the short side, such as `720p`."""

    name: str
    width: int
    height: int
    crf: int
    max_kbps: int

    @property
    def short_side(self) -> int:
        return min(self.width, self.height)


def rungs(width: int, height: int, crf_offset: int = 0) -> tuple[LadderRung, ...]:
    """The renditions of a picture of `width` x `height`, the largest first; at least one, all of one shape."""
    # the long side bounds the short one too: a very wide picture gets smaller, not narrower
    short = min(width, height, math.floor(Fraction(MAX_SIDE * min(width, height), max(width, height))))
    sides = [side for side in STEPS if side <= short]
    best = sides[0] if sides else 0
    if short < max(STEPS) and short >= OWN_SIZE_FROM * best:
        # an odd size is cut to even, never grown
        sides.insert(0, max(2, short // 2 * 2))
    return tuple(_rung(side, width, height, crf_offset) for side in sides)


def _rung(side: int, width: int, height: int, crf_offset: int) -> LadderRung:
    scale = side / min(width, height)
    long_side = min(MAX_SIDE, even(max(width, height) * scale))
    crf, kbps = _quality(side)
    across, down = (long_side, side) if width >= height else (side, long_side)
    return LadderRung(name=f"{side}p", width=across, height=down, crf=crf + crf_offset, max_kbps=kbps)


def _quality(side: int) -> tuple[int, int]:
    """Those of the next step up, with a ceiling in proportion to the area."""
    step = min((known for known in STEPS if known >= side), default=max(STEPS))
    crf, kbps = STEPS[step]
    return crf, max(150, round(kbps * (side / step) ** 1.5))
