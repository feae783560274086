"""Layout of a storyboard's thumbnails, and its WebVTT track. Pure."""

import math
from dataclasses import dataclass
from fractions import Fraction

#: The longest lesson gets about this many pictures.
MAX_PICTURES = 500
MIN_INTERVAL_SECONDS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Storyboard:
    """One picture each `interval_seconds`, in sheets of `columns` x `rows`; `height` is a picture's short side."""

    pictures: int
    interval_seconds: int
    columns: int = 5
    rows: int = 5
    height: int = 90

    @property
    def sheets(self) -> int:
        return math.ceil(self.pictures / (self.columns * self.rows))


def board_of(duration: Fraction) -> Storyboard:
    """The storyboard of a lesson that lasts `duration` seconds."""
    interval = max(MIN_INTERVAL_SECONDS, math.ceil(duration / MAX_PICTURES))
    return Storyboard(pictures=math.ceil(duration / interval), interval_seconds=interval)


def sheet_name(number: int) -> str:
    return f"storyboard_{number:03d}.jpg"


def board_track(board: Storyboard, duration: Fraction, width: int, height: int) -> str:
    """WebVTT: which part of which sheet shows which seconds; a picture is `width` x `height`."""
    lines = ["WEBVTT", ""]
    for i in range(board.pictures):
        sheet, place = divmod(i, board.columns * board.rows)
        row, column = divmod(place, board.columns)
        end = min(duration, Fraction((i + 1) * board.interval_seconds))
        lines.append(f"{_clock(Fraction(i * board.interval_seconds))} --> {_clock(end)}")
        lines += [f"{sheet_name(sheet)}#xywh={column * width},{row * height},{width},{height}", ""]
    return "\n".join(lines)


def _clock(seconds: Fraction) -> str:
    minutes, rest = divmod(int(seconds * 1000), 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{rest // 1000:02d}.{rest % 1000:03d}"
