"""Use case: the preview before the lesson is complete: the upload itself, or its first minute.

It has a master playlist of its own, because its segments may be cut elsewhere than the lesson's.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from services.transcoder.encoding.encode import encode_audio, encode_chunk
from services.transcoder.encoding.remux import can_remux, remux
from services.transcoder.errors import RejectedInputError, WrongOutputError
from services.transcoder.ffmpeg.process import Ffmpeg, never
from services.transcoder.hls.encryption import Key
from services.transcoder.hls.package import Package, assemble
from services.transcoder.planning.damage import Damage
from services.transcoder.planning.plan import Plan


def has_preview(plan: Plan) -> bool:
    """Whether anything can be shown sooner than the lesson itself."""
    return can_remux(plan.source) or len(plan.chunks) > 1


def make_preview(
    plan: Plan,
    source: Path,
    folder: Path,
    ffmpeg: Ffmpeg,
    *,
    key: Key | None = None,
    cancelled: Callable[[], bool] = never,
) -> Package:
    """Write the media to `folder`, and say what its playlists are.

    Raises WrongOutputError where nothing can be shown.
    """
    if can_remux(plan.source):
        try:
            return remux(plan.source, source, folder, ffmpeg, key=key, cancelled=cancelled)
        except (RejectedInputError, WrongOutputError):
            # an encoder may mend what a copy cannot hold; where there is one chunk, that is the lesson itself
            if len(plan.chunks) < 2:
                raise
    beginning = preview_minute(plan)
    # the lesson that follows reports the damage
    reported_later: list[Damage] = []
    parts = encode_chunk(
        beginning,
        beginning.chunks[0],
        source,
        folder,
        ffmpeg,
        key=key,
        on_damage=reported_later.append,
        cancelled=cancelled,
    )
    for sound in beginning.sounds:
        part = encode_audio(
            beginning, sound, source, folder, ffmpeg, key=key, on_damage=reported_later.append, cancelled=cancelled
        )
        parts.append(part)
    return assemble(beginning, parts, key.lock if key else None)


def preview_minute(plan: Plan) -> Plan:
    """The first chunk in the smallest rendition, as a lesson of its own."""
    assert plan.source.video is not None
    chunk = plan.chunks[0]
    ends = min(plan.source.video.end_seconds, float(chunk.end_frame / plan.rate))
    video = replace(plan.source.video, end_seconds=ends)
    sounds = tuple(sound for sound in plan.sounds if sound.default)
    beginning = replace(plan, source=replace(plan.source, video=video), frames=chunk.end_frame)
    return replace(beginning, rungs=plan.rungs[-1:], chunks=(chunk,), sounds=sounds)
