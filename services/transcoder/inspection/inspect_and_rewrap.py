"""Use case: inspect an upload, and rewrap it where it cannot be cut exactly at any time."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from services.transcoder.errors import EncoderFailedError, JobCancelledError, Reason, RejectedInputError
from services.transcoder.ffmpeg import arguments
from services.transcoder.ffmpeg.diagnosis import DAMAGED
from services.transcoder.ffmpeg.process import Ffmpeg, never
from services.transcoder.ffmpeg.untrusted_outputs import MATROSKA, TRANSPORT_STREAM, check_output
from services.transcoder.inspection.packets import PacketIndex
from services.transcoder.inspection.probe import check_bounds, on_grid, read
from services.transcoder.planning.damage import damage_of, is_fatal, merged, warning_of
from services.transcoder.planning.profile import EncodingProfile
from services.transcoder.planning.source import LessonWarning, Source

REWRAPPED_NAME = "source.mkv"
#: What ffmpeg says where Matroska has no name for a codec: PCM of Blu-rays, Nellymoser.
_NO_NAME = "Could not write header"


@dataclass(frozen=True, slots=True)
class Prepared:
    """The file that chunks are encoded from, and what it is. `path` is the upload itself unless it was rewrapped."""

    path: Path
    source: Source
    #: Of the upload: the lesson's name is made of it.
    sha256: str


@dataclass(frozen=True, slots=True)
class _Rewrapped:
    """A Matroska file, what it holds, and how it was made; `arguments.rewrap` has what the last two are."""

    path: Path
    source: Source
    packets: PacketIndex
    whole_alone: bool
    decode_sound: bool


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
        found = _rewrap(described, origin, work, folder, ffmpeg, cancelled, space)
        made = found.source
        if mended and source.video and made.video:
            # times of a clock that began anew lie between each other: they have no rate
            video = replace(source.video, rate=made.video.rate, variable=made.video.variable)
            source = replace(source, video=video)
        elif not mended:
            source = replace(source, warnings=(*source.warnings, *_left_out(source, packets, found)))
        made = _as_before(source, made, found.packets)
        check_bounds(made)
        return Prepared(found.path, made, digest)
    except RejectedInputError:
        # a first try may have been good enough to be kept
        (folder / REWRAPPED_NAME).unlink(missing_ok=True)
        check_bounds(source)
        return Prepared(path, source, digest)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _rewrap(
    described: Source,
    origin: Path,
    work: Path,
    folder: Path,
    ffmpeg: Ffmpeg,
    cancelled: Callable[[], bool],
    file_bytes: int,
) -> _Rewrapped:
    """`origin` as a Matroska file with all its tracks. Raises RejectedInputError where that cannot be."""

    def make(*, whole_alone: bool, decode_sound: bool = False) -> _Rewrapped:
        words = arguments.rewrap(described, origin, whole_alone=whole_alone, decode_sound=decode_sound)
        room = file_bytes + (_decoded_bytes(described) if decode_sound else 0)
        ffmpeg.encode(words, work, reads=[origin], cancelled=cancelled, file_bytes=room)
        # a link here would grant the next ffmpeg the file that it points to
        check_output(work / REWRAPPED_NAME, MATROSKA)
        path = (work / REWRAPPED_NAME).replace(folder / REWRAPPED_NAME)
        return _Rewrapped(path, *read(path, folder, ffmpeg, cancelled), whole_alone, decode_sound)

    try:
        made = make(whole_alone=False)
    except RejectedInputError as error:
        if _NO_NAME in error.detail:
            return make(whole_alone=False, decode_sound=True)
        # a recorder that lost its power ends within a packet
        made = make(whole_alone=True)
    if len(made.source.audio) < len(described.audio):
        return make(whole_alone=made.whole_alone, decode_sound=True)
    return made


def _decoded_bytes(source: Source) -> int:
    """At most so much is the sound of all tracks, of 16 bits."""
    return sum(int(source.duration_seconds * track.sample_rate * track.channels * 2) for track in source.audio)


def _left_out(upload: Source, packets: PacketIndex, made: _Rewrapped) -> tuple[LessonWarning, ...]:
    """The warnings about packets that did not come along because a part of each is missing.

    Raises RejectedInputError where they are too many: a decoder may make more of them.
    """
    if not made.whole_alone:
        return ()
    tracks: list[tuple[str, int, int]] = []
    if upload.video and made.source.video:
        tracks.append(("picture", upload.video.index, made.source.video.index))
    if not made.decode_sound:
        pairs = zip(upload.audio, made.source.audio, strict=False)
        tracks += [("sound", old.index, new.index) for old, new in pairs]
    # of what was copied: subtitles, which are not, may begin before
    before, after = _first_copied(upload, packets), _first_copied(made.source, made.packets)
    damages = []
    for name, old, new in tracks:
        kept = [at - after for at in made.packets.track(new).times()]
        spans = packets.track(old).missing(kept, before)
        damages.append(damage_of(name, spans))
        # what was being written when a recorder stopped is no part of the film
        inside = damage_of(name, [span for span in spans if kept and span[0] < kept[-1]])
        if is_fatal(inside, upload.duration_seconds):
            raise RejectedInputError(Reason.DAMAGED, DAMAGED, f"{inside.seconds:.1f} s of packets are cut off")
    return tuple(warning_of(damage) for damage in merged(damages))


def _first_copied(source: Source, packets: PacketIndex) -> float:
    streams = [track.index for track in (source.video, *source.audio) if track]
    return min(packets.track(stream).copied_from for stream in streams)


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
        warnings=upload.warnings,
        subtitles=upload.subtitles,
        chapters=upload.chapters,
    )
