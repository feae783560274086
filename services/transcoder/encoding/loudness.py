"""Use case: measure a sound track once, and find the gain that levels it.

The measure depends on the upload alone, so a task that is made again on another machine gets the same gain.
"""

from collections.abc import Callable
from pathlib import Path

from services.transcoder.errors import EncoderFailedError, RejectedInputError
from services.transcoder.ffmpeg import arguments
from services.transcoder.ffmpeg.process import Ffmpeg, never
from services.transcoder.planning.loudness import (
    STRONG_LIMITING_DB,
    Level,
    Loudness,
    LoudnessLog,
    corrected,
    level_of,
)
from services.transcoder.planning.plan import Plan, Sound


def find_level(
    plan: Plan,
    sound: Sound,
    source: Path,
    folder: Path,
    ffmpeg: Ffmpeg,
    *,
    decoded: bool = False,
    cancelled: Callable[[], bool] = never,
) -> Level | None:
    """The level of one track. None where the plan wants none, or where the track does not decode: encoding it says
    why."""
    target = plan.recipe.loudness_lufs
    if target is None:
        return None

    def measure(level: Level | None = None) -> Loudness | None:
        log = LoudnessLog()
        words = arguments.measure_loudness(plan, sound, source, decoded=decoded, level=level)
        ffmpeg.encode(words, folder, reads=[source], cancelled=cancelled, on_message=log.line)
        return log.loudness

    try:
        before = measure()
        if before is None:
            return None
        level = level_of(before, target)
        if level.reduction_db > STRONG_LIMITING_DB and (after := measure(level)):
            level = corrected(level, before, after, target)
    except (RejectedInputError, EncoderFailedError):
        return None
    return level
