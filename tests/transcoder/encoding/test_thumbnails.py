"""Poster and storyboard: pictures that exist, cues that cover the lesson and point into the sheets."""

import itertools
import json
import re
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest

from services.transcoder.encoding.local_pipeline import Lesson
from services.transcoder.planning.storyboard import board_of, board_track


def _size(path: Path) -> tuple[int, int]:
    call = ["ffprobe", "-v", "error", "-show_entries", "stream=width,height", "-of", "json", str(path)]
    stream = json.loads(subprocess.run(call, check=True, capture_output=True, timeout=30).stdout)["streams"][0]
    return stream["width"], stream["height"]


@pytest.mark.parametrize("kind", ["very wide", "portrait", "HDR, PQ", "cut in front by an edit list", "Ogg, Theora"])
def test_a_lesson_has_a_poster_and_a_storyboard(kind: str, lesson_of: Callable[[str], Lesson]) -> None:
    lesson = lesson_of(kind)
    largest = lesson.plan.rungs[0]

    width, height = _size(lesson.folder / "poster.jpg")
    assert (width > height) == (largest.width > largest.height)

    sheet = _size(lesson.folder / "storyboard_000.jpg")
    cues = re.findall(
        r"storyboard_000\.jpg#xywh=(\d+),(\d+),(\d+),(\d+)", (lesson.folder / "storyboard.vtt").read_text()
    )
    assert len(cues) == -(-lesson.plan.duration_seconds // 2)
    for x, y, across, down in (tuple(map(int, cue)) for cue in cues):
        assert x + across <= sheet[0]
        assert y + down <= sheet[1]


def test_a_long_lesson_has_bounded_sheets_and_cues_without_gaps() -> None:
    duration = Fraction(3 * 3600 + 1)
    board = board_of(duration)

    cues = re.findall(r"(\S+) --> (\S+)", board_track(board, duration, 160, 90))

    assert board.pictures <= 501
    assert cues[0][0] == "00:00:00.000"
    assert cues[-1][1] == "03:00:01.000"
    assert all(before[1] == after[0] for before, after in itertools.pairwise(cues))
