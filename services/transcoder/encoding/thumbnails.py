"""Use case: the poster, and a storyboard (sheets of small pictures with a WebVTT track)."""

import shutil
from collections.abc import Callable
from pathlib import Path

from services.transcoder.errors import EncoderFailedError, RejectedInputError, WrongOutputError
from services.transcoder.ffmpeg import arguments
from services.transcoder.ffmpeg.process import Ffmpeg, never
from services.transcoder.ffmpeg.untrusted_outputs import JPEG, read_output
from services.transcoder.planning.plan import Plan
from services.transcoder.planning.storyboard import board_of, board_track, sheet_name

POSTER_NAME = "poster.jpg"
STORYBOARD_NAME = "storyboard.vtt"


def make_stills(
    plan: Plan, source: Path, folder: Path, ffmpeg: Ffmpeg, *, cancelled: Callable[[], bool] = never
) -> list[str]:
    """Write poster, storyboard sheets and their track to `folder`; their names. A plan without a picture has none.

    Key frames are ten times cheaper; a source that shows none, or whose decoder cannot skip, is decoded whole,
    and a damaged one as far as it can be.
    """
    if not plan.rungs:
        return []
    work = folder / ".stills"
    try:
        try:
            return _make(plan, source, folder, work, ffmpeg, cancelled, key_frames=True)
        except (RejectedInputError, EncoderFailedError, WrongOutputError):
            try:
                return _make(plan, source, folder, work, ffmpeg, cancelled, key_frames=False)
            except RejectedInputError:
                return _make(plan, source, folder, work, ffmpeg, cancelled, key_frames=False, tolerant=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _make(
    plan: Plan,
    source: Path,
    folder: Path,
    work: Path,
    ffmpeg: Ffmpeg,
    cancelled: Callable[[], bool],
    *,
    key_frames: bool,
    tolerant: bool = False,
) -> list[str]:
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    board = board_of(plan.duration_seconds)
    for words in (
        arguments.poster(plan, source, key_frames=key_frames, tolerant=tolerant),
        arguments.storyboard(plan, source, board, key_frames=key_frames, tolerant=tolerant),
    ):
        ffmpeg.encode(words, work, reads=[source], cancelled=cancelled)
    names = [POSTER_NAME, *(sheet_name(number) for number in range(board.sheets))]
    pictures = {name: read_output(work / name, JPEG) for name in names}
    width, height = arguments.still_size(plan, board.height)
    track = board_track(board, plan.duration_seconds, width, height)
    for name, data in pictures.items():
        (folder / name).write_bytes(data)
    (folder / STORYBOARD_NAME).write_text(track, encoding="utf-8", newline="\n")
    return [*names, STORYBOARD_NAME]
