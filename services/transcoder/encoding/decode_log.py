"""Reads from ffmpeg's messages which frames of a damaged track were decoded, and which of its packets were lost."""

import bisect
import re
from collections.abc import Callable
from pathlib import Path

from services.transcoder.ffmpeg.process import Ffmpeg, never
from services.transcoder.inspection.packets import PacketIndex
from services.transcoder.planning.damage import Damage, Span, damage_of

#: Of the filters `showinfo` and `ashowinfo`, which stand first in a tolerant graph.
_FRAME = re.compile(r"showinfo.*\bpts_time:\s*(-?[0-9.]+)")
#: A decoder that conceals a fault gives a frame all the same; ffmpeg says so just before it.
_CORRUPT = re.compile(r"corrupt decoded frame")


class DecodeLog:
    """The times of decoded frames, in seconds of the film; `seek_seconds` is where ffmpeg began to read."""

    def __init__(self, seek_seconds: float = 0.0) -> None:
        self._seek = seek_seconds
        self._corrupt_next = False
        self.decoded: list[float] = []
        self.corrupt: list[float] = []

    def line(self, line: str) -> None:
        """Take one line of standard error."""
        if _CORRUPT.search(line):
            self._corrupt_next = True
        elif found := _FRAME.search(line):
            at = self._seek + float(found[1])
            self.decoded.append(at)
            if self._corrupt_next:
                self.corrupt.append(at)
            self._corrupt_next = False

    def damage(self, track: str, expected: list[float], frame_seconds: float, window: Span) -> Damage:
        """What is damaged in `window`: packets, due at `expected`, without a frame, and frames that are corrupt."""
        frames = sorted(self.decoded)
        lost = [at for at in expected if not _near(frames, at, 0.6 * frame_seconds)]
        first, end = window[0] - frame_seconds / 2, window[1] - frame_seconds / 2
        return damage_of(track, [(at, at + frame_seconds) for at in [*lost, *self.corrupt] if first <= at < end])


def packet_times(
    stream: int, path: Path, folder: Path, ffmpeg: Ffmpeg, cancelled: Callable[[], bool] = never
) -> list[float]:
    """When the frames of `stream` are due, in seconds of the film."""
    index = PacketIndex.take(path, folder, ffmpeg, cancelled)
    return [at - index.start for at in index.track(stream).times()]


def _near(times: list[float], at: float, slack: float) -> bool:
    place = bisect.bisect_left(times, at - slack)
    return place < len(times) and times[place] <= at + slack
