"""Use case: the poster, and a storyboard (sheets of small pictures with a WebVTT track), from key frames alone."""

import math
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

from services.transcoder import commands
from services.transcoder.errors import WrongOutput
from services.transcoder.ffmpeg import Ffmpeg, never
from services.transcoder.plan import Plan

POSTER_NAME = "poster.jpg"
STORYBOARD_NAME = "storyboard.vtt"
COLUMNS, ROWS = 5, 5
HEIGHT = 90
#: The longest lesson gets about this many pictures.
MOST_PICTURES = 500
LEAST_INTERVAL_SECONDS = 2


def make_stills(
    plan: Plan, source: Path, folder: Path, ffmpeg: Ffmpeg, *, cancelled: Callable[[], bool] = never
) -> list[str]:
    """Write poster, storyboard sheets and their track to `folder`; their names. A plan without a picture has none."""
    if not plan.rungs:
        return []
    work = folder / ".stills"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    interval = storyboard_interval(plan.duration_seconds)
    try:
        ffmpeg.encode(commands.poster(plan, source), work, reads=[source], cancelled=cancelled)
        board = commands.storyboard(plan, source, interval, COLUMNS, ROWS, HEIGHT)
        ffmpeg.encode(board, work, reads=[source], cancelled=cancelled)
        sheets = sorted(file.name for file in work.glob("storyboard_*.jpg"))
        expected = math.ceil(math.ceil(plan.duration_seconds / interval) / (COLUMNS * ROWS))
        if len(sheets) != expected or not (work / POSTER_NAME).exists():
            raise WrongOutput(f"ffmpeg made {len(sheets)} of {expected} storyboard sheets.")
        width, height = commands.still_size(plan, HEIGHT)
        (work / STORYBOARD_NAME).write_text(storyboard_track(plan.duration_seconds, interval, width, height))
        names = [POSTER_NAME, *sheets, STORYBOARD_NAME]
        for name in names:
            (work / name).replace(folder / name)
        return names
    finally:
        shutil.rmtree(work, ignore_errors=True)


def storyboard_interval(duration: Fraction) -> int:
    """Whole seconds between two pictures."""
    return max(LEAST_INTERVAL_SECONDS, math.ceil(duration / MOST_PICTURES))


def storyboard_track(duration: Fraction, interval: int, width: int, height: int) -> str:
    """WebVTT: which part of which sheet shows which seconds."""
    cues = ["WEBVTT", ""]
    for i in range(math.ceil(duration / interval)):
        sheet, place = divmod(i, COLUMNS * ROWS)
        row, column = divmod(place, COLUMNS)
        end = min(duration, Fraction((i + 1) * interval))
        cues.append(f"{_clock(Fraction(i * interval))} --> {_clock(end)}")
        cues += [f"storyboard_{sheet:03d}.jpg#xywh={column * width},{row * height},{width},{height}", ""]
    return "\n".join(cues)


def _clock(seconds: Fraction) -> str:
    thousandths = int(seconds * 1000)
    minutes, rest = divmod(thousandths, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{rest // 1000:02d}.{rest % 1000:03d}"
