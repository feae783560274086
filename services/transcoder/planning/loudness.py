"""Levels the loudness of a sound track (EBU R128): from what was measured to one gain. Pure."""

import math
import re
from dataclasses import dataclass

#: Sound below this is the noise of a room, not speech: it is never raised.
NOISE_LUFS = -50.0
#: More would raise the noise behind quiet speech to be heard.
MAX_GAIN_DB = 20.0
#: True peak before AAC, whose rounding adds up to 2 dB to it; players clip above 0.
CEILING_DBTP = -3.0
#: A limiter that takes more than this off makes the whole track noticeably quieter, so it is measured again.
STRONG_LIMITING_DB = 3.0

_SUMMARY = re.compile(r"^\s+(I|Peak):\s+(-?[0-9.]+|-?inf|nan) (?:LUFS|dBFS)\s*$")


@dataclass(frozen=True, slots=True)
class Loudness:
    """What a track measures: integrated loudness, and the highest peak between samples."""

    lufs: float
    peak_dbtp: float


@dataclass(frozen=True, slots=True)
class Level:
    """What is done to a track: one gain for all of it, and a limiter where its peaks would pass the ceiling."""

    gain_db: float
    limited: bool
    #: How much the limiter takes off the highest peak.
    reduction_db: float = 0.0


class LoudnessLog:
    """Reads the summary of ffmpeg's filter `ebur128` from its messages."""

    def __init__(self) -> None:
        self._found: dict[str, float] = {}

    def line(self, line: str) -> None:
        """Take one line of standard error. The summary is the last that matches."""
        if found := _SUMMARY.match(line):
            self._found[found[1]] = float(found[2])

    @property
    def loudness(self) -> Loudness | None:
        """None where nothing was measured."""
        if set(self._found) != {"I", "Peak"}:
            return None
        return Loudness(self._found["I"], self._found["Peak"])


def level_of(loudness: Loudness, target_lufs: float) -> Level:
    """How a track that measures `loudness` comes to `target_lufs`, as far as its noise allows."""
    return _level(loudness, target_lufs - loudness.lufs)


def corrected(level: Level, before: Loudness, after: Loudness, target_lufs: float) -> Level:
    """`level` with what its limiter took away, as measured `after` it."""
    return _level(before, level.gain_db + target_lufs - after.lufs)


def _level(loudness: Loudness, wanted_db: float) -> Level:
    if not math.isfinite(loudness.lufs) or not math.isfinite(loudness.peak_dbtp):
        return Level(0.0, limited=False)
    most = MAX_GAIN_DB if loudness.lufs > NOISE_LUFS else 0.0
    gain = round(min(most, wanted_db), 2)
    over = loudness.peak_dbtp + gain - CEILING_DBTP
    return Level(gain, limited=over > 0, reduction_db=max(0.0, over))
