"""Use case: inspect an upload, and rewrap it where it cannot be cut exactly at any time."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from services.transcoder.errors import EncoderFailedError, JobCancelledError, RejectedInputError
from services.transcoder.ffmpeg import arguments
from services.transcoder.ffmpeg.process import Ffmpeg, never
from services.transcoder.ffmpeg.untrusted_outputs import MATROSKA, TRANSPORT_STREAM, check_output
from services.transcoder.inspection.packets import PacketIndex
from services.transcoder.inspection.probe import check_bounds, on_grid, read
from services.transcoder.planning.profile import EncodingProfile
from services.transcoder.planning.source import Source

REWRAPPED_NAME = "source.mkv"


@dataclass(frozen=True, slots=True)
class Prepared:
    """The file that chunks are encoded from, and what it is. `path` is the upload itself unless it was rewrapped."""

    path: Path
    source: Source
    #: Of the upload: the lesson's name is made of it.
    sha256: str


def prepare(
    path: Path, folder: Path, ffmpeg: Ffmpeg, recipe: EncodingProfile, *, cancelled: Callable[[], bool] = never
) -> Prepared:
    """Inspect `path`; rewrap it into `folder` if its clock may jump, or if it needs several chunks and has no index.

    In Matroska all tracks have one clock that never jumps, and a time is found exactly.
    A file that cannot be rewrapped is encoded all the same, each chunk from the file's beginning.
    Raises RejectedInputError for what can become no lesson.
    """
    source, packets = read(path, folder, ffmpeg, cancelled)
    digest = file_sha256(path, cancelled)
    short = source.duration_seconds <= recipe.chunk_seconds
    if source.seekable or source.video is None or (short and not source.jumps):
        check_bounds(source)
        return Prepared(path, source, digest)
    work = folder / ".rewrap"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        space = 2 * source.size_bytes + (64 << 20)
        described, origin = source, path
        mended = _mend_clock(source, packets, path, work, ffmpeg, cancelled, space)
        if mended:
            described, origin = mended, work / arguments.MENDED_NAME
        words = arguments.rewrap(described, origin)
        ffmpeg.encode(words, work, reads=[origin], cancelled=cancelled, file_bytes=space)
        # a link here would grant the next ffmpeg the file that it points to
        check_output(work / REWRAPPED_NAME, MATROSKA)
        rewrapped = (work / REWRAPPED_NAME).replace(folder / REWRAPPED_NAME)
        made, times = read(rewrapped, folder, ffmpeg, cancelled)
        if mended and source.video and made.video:
            # times of a clock that began anew lie between each other: they have no rate
            video = replace(source.video, rate=made.video.rate, variable=made.video.variable)
            source = replace(source, video=video)
        made = _as_before(source, made, times)
        check_bounds(made)
        return Prepared(rewrapped, made, digest)
    except RejectedInputError:
        check_bounds(source)
        return Prepared(path, source, digest)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def file_sha256(path: Path, cancelled: Callable[[], bool] = never) -> str:
    """The hash of a file of any size."""
    digest = sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
            if cancelled():
                raise JobCancelledError("The work was cancelled.")
    return digest.hexdigest()


def _mend_clock(
    upload: Source,
    packets: PacketIndex,
    path: Path,
    work: Path,
    ffmpeg: Ffmpeg,
    cancelled: Callable[[], bool],
    file_bytes: int,
) -> Source | None:
    """What `arguments.mend_clock` wrote to `work`; None where no clock jumps, or the packets do not fit in."""
    if upload.video is None or upload.container not in ("mpegts", "mpeg"):
        return None
    shifts = packets.shifts(upload.video.index, [track.index for track in upload.audio])
    if not shifts:
        return None
    try:
        words = arguments.mend_clock(upload, path, shifts)
        ffmpeg.encode(words, work, reads=[path], cancelled=cancelled, file_bytes=file_bytes)
    except (RejectedInputError, EncoderFailedError):
        return None
    check_output(work / arguments.MENDED_NAME, TRANSPORT_STREAM)
    audio = tuple(replace(track, index=number) for number, track in enumerate(upload.audio, 1))
    return replace(upload, container="mpegts", video=replace(upload.video, index=0), audio=audio)


def _as_before(upload: Source, rewrapped: Source, packets: PacketIndex) -> Source:
    """Matroska rounds times to milliseconds and may lose a tag; what the upload said of its pictures stays true."""
    if upload.video is None or rewrapped.video is None:
        return rewrapped
    old = upload.video
    # the streams of the upload stand there in the order in which `arguments.rewrap` maps them
    audio = tuple(replace(track, upload_index=upload.audio[track.index - 1].index) for track in rewrapped.audio)
    video = replace(
        rewrapped.video,
        rate=old.rate,
        variable=old.variable,
        fields=old.fields,
        full_range=old.full_range,
        matrix=old.matrix,
        transfer=old.transfer,
        primaries=old.primaries,
        width=old.width,
        height=old.height,
    )
    return replace(
        rewrapped,
        video=on_grid(video, packets),
        audio=audio,
        upload_container=upload.container,
        subtitles=upload.subtitles,
        chapters=upload.chapters,
    )
