"""Use case: the sound of one task of a published lesson, as samples for speech recognition."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

from services.transcoder.errors import JobCancelledError
from services.transcoder.ffmpeg import arguments
from services.transcoder.ffmpeg.process import Ffmpeg, never
from services.transcoder.hls.encryption import Key, decrypted
from services.transcoder.hls.rendition_assembly import Rendition
from services.transcoder.hls.segment_metadata import INIT_NAME
from services.transcoder.storage.object_store import ObjectStore

SAMPLES_NAME = "speech.raw"
_SEGMENTS_NAME = "speech.mp4"


def fetch_sound(
    rendition: Rendition,
    prefix: str,
    window: tuple[Fraction, Fraction],
    objects: ObjectStore,
    folder: Path,
    ffmpeg: Ffmpeg,
    key: Key | None = None,
    cancelled: Callable[[], bool] = never,
) -> Fraction:
    """Write the samples of the segments in `window` to `speech.raw`; when the first one is, in seconds.

    The lesson's own segments are small, are by its clock, and are there when retention has removed the upload.
    """
    scale = rendition.track.timescale
    wanted = [one for one in rendition.segments if one.end > window[0] * scale and one.time < window[1] * scale]
    if not wanted:
        (folder / SAMPLES_NAME).write_bytes(b"")
        return window[0]
    with (folder / _SEGMENTS_NAME).open("wb") as file:
        init = objects.read(f"{prefix}{rendition.name}/{INIT_NAME}")
        file.write(decrypted(init, key.secret, key.lock.init_iv) if key else init)
        for segment in wanted:
            if cancelled():
                raise JobCancelledError("The work was cancelled.")
            data = objects.read(f"{prefix}{rendition.name}/{segment.name}")
            file.write(decrypted(data, key.secret, segment.number.to_bytes(16, "big")) if key else data)
    path = folder / _SEGMENTS_NAME
    ffmpeg.encode(arguments.decode_speech(path, SAMPLES_NAME), folder, cancelled=cancelled)
    path.unlink()
    return Fraction(wanted[0].time, scale)
