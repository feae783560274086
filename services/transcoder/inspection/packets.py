"""Reads the time and size of every packet, without decoding."""

import bisect
import itertools
import math
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from services.transcoder.errors import Reason, RejectedInputError
from services.transcoder.ffmpeg import input_limits
from services.transcoder.ffmpeg.process import Ffmpeg, never

#: Eight hours at 120 pictures a second, twice; a file with more is made to exhaust us.
MAX_PACKETS = 8_000_000
#: A clock that goes back, or this far ahead, was set anew; a shorter way ahead is a picture that is held.
BACK_SECONDS = 0.1
JUMP_SECONDS = 10.0
#: Each costs a term in the filter that moves the packets.
MAX_RUNS = 64


@dataclass(slots=True)
class Run:
    """Packets of one track between two jumps of its clock: the first one's number, the first and the last time."""

    number: int
    start: float
    end: float


class Track:
    """One track's packets, as they came."""

    def __init__(self) -> None:
        #: Numbered from the first key packet: a copy begins there.
        self.runs: list[Run] = []
        self._number = -1
        self._order: float | None = None
        self._times = array("d")
        self._keys = array("d")
        self.all_packets = 0
        self.size_bytes = 0
        self.end = 0.0

    @property
    def count(self) -> int:
        """Packets that are shown: an edit list may hide some."""
        return len(self._times)

    @property
    def first(self) -> float:
        return min(self._times)

    @property
    def last(self) -> float:
        return max(self._times)

    def times(self) -> list[float]:
        """The times of all shown packets in the order of showing."""
        return sorted(self._times)

    def holes(self, least_seconds: float) -> list[tuple[float, float]]:
        """From which time to which no packet is shown, where that is longer than `least_seconds`."""
        moments = [*self.times(), self.end]
        return [(before, after) for before, after in itertools.pairwise(moments) if after - before > least_seconds]

    def breaks(self, least_seconds: float) -> int:
        """How many shown packets begin more than `least_seconds` before or after the usual step."""
        steps = sorted(after - before for before, after in itertools.pairwise(self.times()))
        usual = steps[len(steps) // 2] if steps else 0.0
        return sum(abs(step - usual) > least_seconds for step in steps)

    @property
    def copied_from(self) -> float:
        """The time of the first packet that a copy has: pictures before a key picture are left out."""
        return min(self._keys, default=self.first)

    def missing(self, kept: Sequence[float], origin: float) -> list[tuple[float, float]]:
        """From when to when, after `origin`, each packet is shown whose time is not among the sorted `kept`.

        What is shown before the first key packet is left out.
        """
        times = [at - origin for at in self.times() if at >= self.copied_from]
        steps = sorted(after - before for before, after in itertools.pairwise(times))
        usual = steps[len(steps) // 2] if steps else 0.0

        def is_kept(at: float) -> bool:
            place = bisect.bisect_left(kept, at - 0.6 * usual)
            return place < len(kept) and kept[place] <= at + 0.6 * usual

        return [(at, at + usual) for at in times if not is_kept(at)]

    def longest_key_interval(self) -> float:
        """The longest time between two pictures at which a player can start."""
        return _longest_step([*sorted(self._keys), self.end]) if self._keys else self.end - self.first

    def advance(self, time: float, duration: float, order: float, flags: str) -> None:
        """Count a packet, whether it has a time or not (`nan`); `order` is its time of decoding."""
        if self._number >= 0 or "K" in flags:
            self._number += 1
        if math.isnan(time) or self._number < 0:
            return
        jumped = self._order is not None and not -BACK_SECONDS <= order - self._order <= JUMP_SECONDS
        if not self.runs or jumped:
            self.runs.append(Run(self._number, time, time + duration))
        run = self.runs[-1]
        run.start, run.end = min(run.start, time), max(run.end, time + duration)
        self._order = order

    def add(self, time: float, duration: float, size: int, flags: str) -> None:
        self.all_packets += 1
        self.size_bytes += size
        if "D" in flags:
            return
        self._times.append(time)
        self.end = max(self.end, time + duration) if len(self._times) > 1 else time + duration
        if "K" in flags:
            self._keys.append(time)


class PacketIndex:
    """All tracks of a file. Times are the file's own; `start` is the first of them."""

    def __init__(self) -> None:
        self._tracks: dict[int, Track] = {}
        self._packets = 0
        self._origin: float | None = None

    @classmethod
    def take(
        cls,
        path: Path,
        folder: Path,
        ffmpeg: Ffmpeg,
        cancelled: Callable[[], bool] = never,
        options: Sequence[str] = (),
    ) -> "PacketIndex":
        """Read `path` to its end, with ffprobe's `options` for its container. Raises RejectedInputError."""
        survey = cls()
        packet = "packet=stream_index,pts_time,dts_time,duration_time,size,flags"
        shown = ["-show_entries", f"{packet}:format=format_name,start_time"]
        call = ["-v", "error", *input_limits.INPUT, *options, *shown, "-of", "compact=p=0:nk=1"]
        call.append(f"file:{path.absolute()}")
        ffmpeg.probe(call, folder, reads=[path], on_line=survey._line, cancelled=cancelled)
        return survey

    def track(self, index: int) -> Track:
        """The track of stream `index`; empty where no packet came."""
        return self._tracks.setdefault(index, Track())

    @property
    def start(self) -> float:
        """When the film begins: later than the first packet where a sound's first samples are to be skipped."""
        if self._origin is not None:
            return self._origin
        return min((track.first for track in self._tracks.values() if track.count), default=0.0)

    @property
    def end(self) -> float:
        return max((track.end for track in self._tracks.values() if track.count), default=0.0)

    def _line(self, line: str) -> bool:
        parts = line.strip().split("|")
        if len(parts) < 6:
            self._begin(*parts)
            return False
        index, pts, dts, duration, size, flags = parts[:6]
        # AVI has no presentation times; without reordering the decoding times are the same
        time = pts if pts != "N/A" else dts
        lasts = 0.0 if duration == "N/A" else float(duration)
        at = math.nan if time == "N/A" else float(time)
        self.track(int(index)).advance(at, lasts, at if dts == "N/A" else float(dts), flags)
        if time == "N/A":
            return True
        self._packets += 1
        if self._packets > MAX_PACKETS:
            raise RejectedInputError(Reason.TOO_LONG, "The video has too many pictures: cut it into lessons.")
        self.track(int(index)).add(at, lasts, int(size) if size != "N/A" else 0, flags)
        return True

    def shifts(self, leader: int, others: Sequence[int]) -> dict[int, list[tuple[int, float]]]:
        """How a clock that jumps becomes one that does not: by stream, from which packet on times move by how much.

        The leader's frames then follow each other without a gap, and all tracks move by as much. Empty if no clock
        jumps, if the tracks do not jump alike, or too often.
        """
        runs = self.track(leader).runs
        if not 2 <= len(runs) <= MAX_RUNS or any(len(self.track(other).runs) != len(runs) for other in others):
            return {}
        moved = [0.0]
        for before, after in itertools.pairwise(runs):
            moved.append(before.end + moved[-1] - after.start)
        return {
            stream: [(run.number, move) for run, move in zip(self.track(stream).runs, moved, strict=True)]
            for stream in (leader, *others)
        }

    def _begin(self, names: str, start: str = "N/A", *_: str) -> None:
        # where a clock may jump, ffmpeg searches for the beginning itself, in the tracks that it reads
        if names.split(",")[0] in ("mov", "matroska") and start != "N/A":
            self._origin = float(start)


def _longest_step(times: list[float]) -> float:
    return max((after - before for before, after in itertools.pairwise(times)), default=0.0)
