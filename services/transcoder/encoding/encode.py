"""Use cases: encode one chunk, or one sound track, into a scratch folder, and measure what came out."""

import itertools
import shutil
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from services.transcoder.encoding.decode_log import DecodeLog, packet_times
from services.transcoder.encoding.loudness import find_level
from services.transcoder.errors import (
    EncoderFailedError,
    Reason,
    RejectedInputError,
    TranscoderError,
    WrongOutputError,
)
from services.transcoder.ffmpeg import arguments
from services.transcoder.ffmpeg.diagnosis import DAMAGED
from services.transcoder.ffmpeg.process import Ffmpeg, ignore, never
from services.transcoder.ffmpeg.progress import Progress
from services.transcoder.ffmpeg.untrusted_outputs import INITIALISATION, MATROSKA, SEGMENT, check_output, read_output
from services.transcoder.hls.encryption import Key, encrypt_initialisation, encrypt_part, encrypt_segment
from services.transcoder.hls.mp4 import Mp4Error
from services.transcoder.hls.segment_metadata import (
    INIT_NAME,
    RenditionSlice,
    Segment,
    joined,
    measure,
    part,
    segment_name,
)
from services.transcoder.planning.damage import Damage, is_fatal, merged, warning_of
from services.transcoder.planning.plan import Chunk, Plan, Sound
from services.transcoder.planning.source import LessonWarning

#: What reading bytes that are no MP4 boxes can end in.
UNREADABLE = (Mp4Error, struct.error, IndexError, StopIteration)


def encode_chunk(
    plan: Plan,
    chunk: Chunk,
    source: Path,
    folder: Path,
    ffmpeg: Ffmpeg,
    *,
    key: Key | None = None,
    on_progress: Callable[[Progress], None] = ignore,
    on_segment: Callable[[Path], None] = lambda _: None,
    on_damage: Callable[[Damage], None] | None = None,
    cancelled: Callable[[], bool] = never,
) -> list[RenditionSlice]:
    """Encode `chunk` of `source` in every rendition: `<folder>/<rung>/init.mp4` and `<folder>/<rung>/<segment>.m4s`.

    Each segment, encrypted where there is a `key`, is given to `on_segment` as soon as it is finished, while the next
    is encoded.
    With `on_damage`, a chunk that does not decode whole is encoded as far as it does, and `on_damage` gets what is
    lost. Without it such a chunk is rejected: nobody would hear of the damage.
    Running it again gives the same bytes. Raises RejectedInputError, TransientError or JobCancelledError; also
    WrongOutputError if ffmpeg ends well but frames are missing.
    """
    work = _fresh(folder, f".chunk{chunk.index}")
    joiners = [_Joiner(plan, chunk, rung.name, work, folder / rung.name, key, on_segment) for rung in plan.rungs]

    def advance(progress: Progress) -> None:
        for joiner in joiners:
            joiner.join_finished()
        on_progress(progress)

    def encode(log: DecodeLog | None = None) -> None:
        ffmpeg.encode(
            arguments.encode_chunk(plan, chunk, source, tolerant=log is not None),
            work,
            reads=[source],
            on_progress=advance,
            cancelled=cancelled,
            on_message=log.line if log else None,
        )

    try:
        try:
            encode()
        except RejectedInputError as error:
            if error.reason is not Reason.DAMAGED or on_damage is None:
                raise
            log = DecodeLog(float(arguments.seek_of(plan, chunk)))
            _empty(work)
            for joiner in joiners:
                joiner.restart()
            with _as(error):
                encode(log)
                damage = _picture_damage(plan, chunk, log, source, work, ffmpeg, cancelled)
            _check_worth(damage, plan)
            on_damage(damage)
        return [joiner.join_rest() for joiner in joiners]
    finally:
        shutil.rmtree(work, ignore_errors=True)


def encode_audio(
    plan: Plan,
    sound: Sound,
    source: Path,
    folder: Path,
    ffmpeg: Ffmpeg,
    *,
    upload: Path | None = None,
    key: Key | None = None,
    on_progress: Callable[[Progress], None] = ignore,
    on_damage: Callable[[Damage], None] | None = None,
    cancelled: Callable[[], bool] = never,
) -> RenditionSlice:
    """Encode one sound track whole: `<folder>/<sound>/init.mp4` and `<folder>/<sound>/<segment>.m4s`.

    A track that changes its channels is decoded first; from `upload`, if `source` is a rewrapped transport stream:
    there each packet says how it is coded. With `on_damage`, so is a track that breaks: what is lost is silent, and
    `on_damage` gets it.
    """
    work = _fresh(folder, f".{sound.name}")

    def encode(path: Path, *, decoded: bool = False) -> None:
        level = find_level(plan, sound, path, work, ffmpeg, decoded=decoded, cancelled=cancelled)
        words = arguments.encode_audio(plan, sound, path, decoded=decoded, level=level)
        ffmpeg.encode(words, work, reads=[path], on_progress=on_progress, cancelled=cancelled)

    try:
        try:
            encode(source)
        except (RejectedInputError, EncoderFailedError) as error:
            log = DecodeLog()
            spare = _fresh(folder, f".{sound.name}.decoded")
            with _as(error):
                words = arguments.decode_audio(plan, sound, source, upload)
                reads = [source] if upload is None else [source, upload]
                ffmpeg.encode(words, spare, reads=reads, cancelled=cancelled, on_message=log.line)
                damage = _sound_damage(plan, sound, log, source, work, ffmpeg, cancelled)
                _check_worth(damage, plan)
                _empty(work)
                # a link here would grant the next ffmpeg the file that it points to
                check_output(spare / arguments.DECODED_NAME, MATROSKA)
                encode(spare / arguments.DECODED_NAME, decoded=True)
            shutil.rmtree(spare)
            if damage.spans and on_damage is None:
                raise
            if on_damage:
                on_damage(damage)
        made = collect_whole(sound.name, work, folder / sound.name, pictures=False)
        return encrypt_part(made, folder / sound.name, key) if key else made
    finally:
        shutil.rmtree(work, ignore_errors=True)


def warnings_of(plan: Plan, damages: Iterable[Damage]) -> tuple[LessonWarning, ...]:
    """All that the teacher has to know of a finished lesson. Raises RejectedInputError if too much of it is lost."""
    found = merged(damages)
    for damage in found:
        _check_worth(damage, plan)
    return (*plan.source.warnings, *map(warning_of, found))


def collect_whole(name: str, work: Path, target: Path, *, pictures: bool) -> RenditionSlice:
    """Copy finished segments of one rendition from `work` to `target` and measure them."""
    target.mkdir(parents=True, exist_ok=True)
    segments: list[Segment] = []
    for number, file in enumerate(sorted(work.glob("[0-9]*.m4s"))):
        # the bytes that were measured are the bytes that are kept
        data = read_output(file, SEGMENT)
        segments.append(_measured(number, data, pictures=pictures))
        (target / segment_name(number)).write_bytes(data)
        file.unlink()
    initialisation = read_output(work / INIT_NAME, INITIALISATION)
    if not segments:
        raise WrongOutputError(f"ffmpeg ended without an error, but wrote nothing for {name}.")
    (target / INIT_NAME).write_bytes(initialisation)
    return _part(name, initialisation, segments)


class _Joiner:
    """Joins the groups of one rendition into segments, in order, as ffmpeg finishes them."""

    def __init__(
        self,
        plan: Plan,
        chunk: Chunk,
        name: str,
        work: Path,
        target: Path,
        key: Key | None,
        on_segment: Callable[[Path], None],
    ) -> None:
        self._chunk, self._name, self._work, self._target = chunk, name, work, target
        self._key, self._on_segment = key, on_segment
        self._per_segment = plan.recipe.groups_per_segment
        self._first = self._next = chunk.first_frame // plan.group_frames
        self._end = -(-chunk.end_frame // plan.group_frames)
        self._segments: list[Segment] = []

    def restart(self) -> None:
        """ffmpeg begins the chunk again. Segments that were joined stay: they may be on their way to S3."""
        self._next = self._first

    def join_finished(self) -> None:
        """Join what is known to be whole: a group is, once ffmpeg has begun and ended the one after it."""
        while self._next + self._per_segment < self._end and self._file(self._next + self._per_segment).exists():
            self._join()

    def join_rest(self) -> RenditionSlice:
        """Join what is left now that ffmpeg has ended. Raises WrongOutputError where pictures are missing."""
        while self._next < self._end:
            self._join()
        initialisation = read_output(self._work / f"init_{self._name}.mp4", INITIALISATION)
        self._target.mkdir(parents=True, exist_ok=True)
        (self._target / INIT_NAME).write_bytes(initialisation)
        if self._key:
            encrypt_initialisation(self._target, self._key)
        made = _part(self._name, initialisation, self._segments)
        if made.samples != self._chunk.frames:
            raise WrongOutputError(
                f"Chunk {self._chunk.index} of {self._name} has {made.samples} pictures; "
                f"{self._chunk.frames} were planned."
            )
        return made

    def _join(self) -> None:
        files = [self._file(i) for i in range(self._next, min(self._next + self._per_segment, self._end))]
        if (self._next - self._first) // self._per_segment < len(self._segments):
            for file in files:
                file.unlink()
            self._next += self._per_segment
            return
        data = joined([read_output(file, SEGMENT) for file in files])
        segment = _measured(self._next // self._per_segment, data, pictures=True)
        self._target.mkdir(parents=True, exist_ok=True)
        (self._target / segment.name).write_bytes(data)
        for file in files:
            file.unlink()
        if self._key:
            segment = encrypt_segment(segment, self._target, self._key, self._per_segment)
        self._segments.append(segment)
        self._next += self._per_segment
        self._on_segment(self._target / segment.name)

    def _file(self, group: int) -> Path:
        return self._work / f"{self._name}_{group:05d}.m4s"


def _picture_damage(
    plan: Plan, chunk: Chunk, log: DecodeLog, source: Path, work: Path, ffmpeg: Ffmpeg, cancelled: Callable[[], bool]
) -> Damage:
    assert plan.source.video is not None
    expected = packet_times(plan.source.video.index, source, work, ffmpeg, cancelled)
    window = float(chunk.first_frame / plan.rate), float(chunk.end_frame / plan.rate)
    return log.damage("picture", expected, float(1 / plan.source.video.rate), window)


def _sound_damage(
    plan: Plan, sound: Sound, log: DecodeLog, source: Path, work: Path, ffmpeg: Ffmpeg, cancelled: Callable[[], bool]
) -> Damage:
    expected = packet_times(sound.stream, source, work, ffmpeg, cancelled)
    steps = sorted(after - before for before, after in itertools.pairwise(expected))
    step = steps[len(steps) // 2] if steps else 0.02
    return log.damage("sound", expected, step, (0.0, float(plan.duration_seconds)))


def _check_worth(damage: Damage, plan: Plan) -> None:
    if is_fatal(damage, float(plan.duration_seconds)):
        detail = f"{damage.seconds:.2f} s of the {damage.track} do not decode"
        raise RejectedInputError(Reason.DAMAGED, DAMAGED, detail)


@contextmanager
def _as(first: TranscoderError) -> Iterator[None]:
    """If the second attempt fails by the file's fault too, the first one's error names the cause."""
    try:
        yield
    except (RejectedInputError, EncoderFailedError, WrongOutputError) as error:
        raise first from error


def _measured(number: int, data: bytes, *, pictures: bool) -> Segment:
    try:
        return measure(number, data, pictures=pictures)
    except UNREADABLE as error:
        raise WrongOutputError(f"Segment {number} is no segment: {error}.") from error


def _part(name: str, initialisation: bytes, segments: list[Segment]) -> RenditionSlice:
    try:
        return part(name, initialisation, segments)
    except UNREADABLE as error:
        raise WrongOutputError(f"The initialisation of {name} describes no track: {error}.") from error


def _empty(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


def _fresh(folder: Path, name: str) -> Path:
    """An empty folder: what a killed process left is never taken for a result."""
    work = folder / name
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    return work
