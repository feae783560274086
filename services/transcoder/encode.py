"""Use cases: encode one chunk, or one sound track, into a scratch folder, and measure what came out."""

import shutil
from collections.abc import Callable
from pathlib import Path

from services.transcoder import commands
from services.transcoder.boxes import BadBoxes
from services.transcoder.errors import WrongOutput
from services.transcoder.ffmpeg import Ffmpeg, ignore, never
from services.transcoder.measure import INIT_NAME, Part, Segment, joined, measure, part, segment_name
from services.transcoder.plan import Chunk, Plan, Sound
from services.transcoder.progress import Progress


def encode_chunk(
    plan: Plan,
    chunk: Chunk,
    source: Path,
    folder: Path,
    ffmpeg: Ffmpeg,
    *,
    on_progress: Callable[[Progress], None] = ignore,
    cancelled: Callable[[], bool] = never,
) -> list[Part]:
    """Encode `chunk` of `source` in every rendition: `<folder>/<rung>/init.mp4` and `<folder>/<rung>/<segment>.m4s`.

    Running it again gives the same bytes. Raises Refused, Passing or Cancelled; a WrongOutput is also raised where
    ffmpeg ended well but pictures are missing.
    """
    work = _fresh(folder, f".chunk{chunk.index}")
    try:
        ffmpeg.encode(
            commands.encode_chunk(plan, chunk, source),
            work,
            reads=[source],
            on_progress=on_progress,
            cancelled=cancelled,
        )
        return [_collect(plan, chunk, rung.name, work, folder / rung.name) for rung in plan.rungs]
    finally:
        shutil.rmtree(work, ignore_errors=True)


def encode_audio(
    plan: Plan,
    sound: Sound,
    source: Path,
    folder: Path,
    ffmpeg: Ffmpeg,
    *,
    on_progress: Callable[[Progress], None] = ignore,
    cancelled: Callable[[], bool] = never,
) -> Part:
    """Encode one sound track whole: `<folder>/<sound>/init.mp4` and `<folder>/<sound>/<segment>.m4s`."""
    work = _fresh(folder, f".{sound.name}")
    try:
        ffmpeg.encode(
            commands.encode_audio(plan, sound, source),
            work,
            reads=[source],
            on_progress=on_progress,
            cancelled=cancelled,
        )
        return collect_whole(sound.name, work, folder / sound.name, pictures=False)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def collect_whole(name: str, work: Path, target: Path, *, pictures: bool) -> Part:
    """Move finished segments of one rendition from `work` to `target` and measure them."""
    target.mkdir(parents=True, exist_ok=True)
    segments: list[Segment] = []
    for number, file in enumerate(sorted(work.glob("[0-9]*.m4s"))):
        segments.append(_measured(number, file.read_bytes(), pictures=pictures))
        file.replace(target / segment_name(number))
    initialisation = _bytes_of(work / INIT_NAME)
    if not segments:
        raise WrongOutput(f"ffmpeg ended without an error, but wrote nothing for {name}.")
    (target / INIT_NAME).write_bytes(initialisation)
    return part(name, initialisation, segments)


def _collect(plan: Plan, chunk: Chunk, name: str, work: Path, target: Path) -> Part:
    """Join the groups of one rendition into segments."""
    target.mkdir(parents=True, exist_ok=True)
    per_segment = plan.recipe.groups_per_segment
    first, end = chunk.first_frame // plan.group_frames, -(-chunk.end_frame // plan.group_frames)
    segments: list[Segment] = []
    for group in range(first, end, per_segment):
        files = [work / f"{name}_{i:05d}.m4s" for i in range(group, min(group + per_segment, end))]
        data = joined([_bytes_of(file) for file in files])
        segment = _measured(group // per_segment, data, pictures=True)
        (target / segment.name).write_bytes(data)
        for file in files:
            file.unlink()
        segments.append(segment)
    initialisation = _bytes_of(work / f"init_{name}.mp4")
    (target / INIT_NAME).write_bytes(initialisation)
    made = part(name, initialisation, segments)
    if made.samples != chunk.frames:
        raise WrongOutput(f"Chunk {chunk.index} of {name} has {made.samples} pictures; {chunk.frames} were planned.")
    return made


def _measured(number: int, data: bytes, *, pictures: bool) -> Segment:
    try:
        return measure(number, data, pictures=pictures)
    except BadBoxes as error:
        raise WrongOutput(f"Segment {number} is no segment: {error}.") from error


def _bytes_of(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError as error:
        raise WrongOutput(f"ffmpeg ended without an error, but did not write {file.name}.") from error


def _fresh(folder: Path, name: str) -> Path:
    """An empty folder: what a killed process left is never taken for a result."""
    work = folder / name
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    return work
