"""Use case: a fast first rendition: H.264 and AAC are segmented without encoding, within seconds.

It gets a master of its own: its cuts lie where the source's key frames do, not where the ladder's do, and players
show holes when they switch between the two. The ladder's master replaces it in one step.
"""

import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

from services.transcoder.encoding.encode import collect_whole
from services.transcoder.errors import WrongOutputError
from services.transcoder.ffmpeg import arguments
from services.transcoder.ffmpeg.process import Ffmpeg, never
from services.transcoder.hls.encryption import Key, encrypt_part
from services.transcoder.hls.idr_check import starts_with_idr
from services.transcoder.hls.mp4 import fragments
from services.transcoder.hls.package import Package, playlists_of
from services.transcoder.hls.rendition_assembly import assemble_rendition
from services.transcoder.hls.segment_metadata import RenditionSlice
from services.transcoder.planning.plan import Sound, half_up
from services.transcoder.planning.source import Source, Video

PICTURE_NAME = "source"
SOUND_NAME = "sourceaudio"
#: Players buffer whole segments: longer ones make seeking slow.
MAX_KEY_INTERVAL_SECONDS = 10.0
#: More stalls on the connections that our students have.
MAX_BITS_PER_SECOND = 12_000_000
#: Sound and picture have to start together, as nothing can be filled in without encoding.
START_SLACK_SECONDS = 0.1
SEGMENT_SECONDS = 6


def can_remux(source: Source) -> bool:
    """Whether browsers play the upload's own bytes."""
    video = source.video
    if video is None or not source.seekable or not _plays(video):
        return False
    starts = [video.first_seconds, *(track.first_seconds for track in source.audio[:1])]
    plain = all(track.codec == "aac" and track.profile == "LC" and track.channels <= 2 for track in source.audio[:1])
    return plain and max(starts) <= START_SLACK_SECONDS


def remux(
    source: Source,
    path: Path,
    folder: Path,
    ffmpeg: Ffmpeg,
    *,
    key: Key | None = None,
    cancelled: Callable[[], bool] = never,
) -> Package:
    """Cut `path` into `<folder>/source` (and its first sound into `<folder>/sourceaudio`); the playlists to publish.

    Raises WrongOutputError where pictures are missing, hidden by an edit list, or not cut at IDR pictures; the caller
    then waits for the ladder instead.
    """
    video = source.video
    assert video is not None, "ask can_remux first"
    limit = 4 * source.size_bytes + (64 << 20)
    steps = [(PICTURE_NAME, arguments.remux(source, path, segment_seconds=SEGMENT_SECONDS))]
    if source.audio:
        steps.append((SOUND_NAME, arguments.remux_audio(source, path, segment_seconds=SEGMENT_SECONDS)))
    parts: list[RenditionSlice] = []
    for name, words in steps:
        work = folder / f".{name}"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        try:
            ffmpeg.encode(words, work, reads=[path], cancelled=cancelled, file_bytes=limit)
            parts.append(collect_whole(name, work, folder / name, pictures=name == PICTURE_NAME))
        finally:
            shutil.rmtree(work, ignore_errors=True)
    _check_cuts(parts[0], folder / PICTURE_NAME)
    if key:
        parts = [encrypt_part(part, folder / part.rendition, key) for part in parts]
    return _assembly(source, video, parts, key)


def _assembly(source: Source, video: Video, parts: list[RenditionSlice], key: Key | None) -> Package:
    if parts[0].samples != video.frames:
        raise WrongOutputError(f"The remux has {parts[0].samples} of {video.frames} pictures.")
    renditions = assemble_rendition(parts, latest_start=Fraction(START_SLACK_SECONDS).limit_denominator(1000))
    sounds = []
    for track in source.audio[:1]:
        sound = Sound(name=SOUND_NAME, stream=track.index, language=track.language, title="Audio 1", default=True)
        sounds.append((sound, renditions[SOUND_NAME]))
    picture = renditions[PICTURE_NAME]
    # what was really there, not the rate that a varying source is rounded to
    rate = Fraction(parts[0].samples) / picture.duration_seconds
    declared = video.rate if abs(rate - video.rate) < video.rate / 2000 else Fraction(half_up(rate * 1000), 1000)
    return playlists_of([picture], sounds, declared, key.lock if key else None)


def _check_cuts(part: RenditionSlice, folder: Path) -> None:
    for segment in part.segments:
        data = (folder / segment.name).read_bytes()
        if not starts_with_idr(data, fragments(data)):
            raise WrongOutputError(f"Segment {segment.number} of the remux does not start with an IDR picture.")
        if len(segment.key_frames) != 1:
            raise WrongOutputError(
                f"Segment {segment.number} of the remux has {len(segment.key_frames)} groups, not one."
            )


def _plays(video: Video) -> bool:
    return (
        video.codec == "h264"
        and video.profile in ("Constrained Baseline", "Baseline", "Main", "High")
        and video.pixel_format == "yuv420p"
        and video.rotation == 0
        and video.square_pixels
        and video.fields is None
        and not video.hdr
        and video.rate <= 60
        and video.short_side <= 1080
        and video.bits_per_second <= MAX_BITS_PER_SECOND
        and video.longest_key_interval_seconds <= MAX_KEY_INTERVAL_SECONDS
    )
