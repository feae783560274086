"""Use case: decodes the film and the lesson into series of pictures, movement and loudness to compare."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from services.transcoder.ffmpeg import arguments, filtergraphs
from services.transcoder.ffmpeg.process import Ffmpeg
from services.transcoder.ffmpeg.untrusted_outputs import read_regular
from services.transcoder.hls.lint.presentation import Media
from services.transcoder.inspection.probe import inspect

#: Both sound and pictures, every hundredth of a second.
STEPS = 100
#: Only the beginning is compared: what is wrong with a film's shape or sync shows there.
MAX_SECONDS = 120
#: Small pictures for shapes; smaller ones for movement.
SIDE = 96
MOVING_SIDE = 4


@dataclass(frozen=True, slots=True)
class Signals:
    """One film, or one variant of a lesson. `pictures` are three frames around the middle of each second."""

    width: int
    height: int
    pictures: bytes
    movement: bytes
    loudness: Sequence[int]


@dataclass(slots=True)
class Film:
    """The upload that a lesson was made of, read again for each shape of picture it is compared with."""

    path: Path
    ffmpeg: Ffmpeg
    _known: dict[tuple[int, int], Signals] = field(default_factory=dict)

    @property
    def hdr(self) -> bool:
        """Whether the lesson has to differ."""
        with tempfile.TemporaryDirectory() as work:
            video = inspect(self.path, Path(work), self.ffmpeg).video
        return video is not None and video.hdr

    def signals(self, width: int, height: int) -> Signals:
        """The film in a picture of this shape, each of its frames fitted into it."""
        across, down = _canvas(width, height)
        if (across, down) not in self._known:
            self._known[across, down] = _read(self.path, across, down, self.ffmpeg, "")
        return self._known[across, down]


def signals_of(picture: Media, sound: Media | None, width: int, height: int, ffmpeg: Ffmpeg) -> Signals:
    """What players make of one variant and its sound, decrypted."""
    across, down = _canvas(width, height)
    with tempfile.TemporaryDirectory() as folder:
        found = []
        for number, media in enumerate([picture, *([sound] if sound else [])]):
            path = Path(folder) / f"{number}.mp4"
            with path.open("wb") as file:
                file.write(media.initialisation or b"")
                file.writelines(segment.data for segment in media.segments)
            found.append(_read(path, across, down, ffmpeg, "mov"))
    return Signals(across, down, found[0].pictures, found[0].movement, found[-1].loudness)


def _canvas(width: int, height: int) -> tuple[int, int]:
    scale = SIDE / max(width, height, 1)
    return max(8, 2 * round(width * scale / 2)), max(8, 2 * round(height * scale / 2))


def _read(path: Path, width: int, height: int, ffmpeg: Ffmpeg, container: str) -> Signals:
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        source = inspect(path, folder, ffmpeg)
        names = ("pictures.gray", "movement.gray", "loudness.s16")
        words = arguments.signals(
            source,
            path,
            container or source.container,
            filtergraphs.fitted(width, height),
            seconds=MAX_SECONDS,
            steps=STEPS,
            moving_side=MOVING_SIDE,
            names=names,
        )
        ffmpeg.encode(words, folder, reads=[path])
        pictures, movement, loudness = (
            read_regular(folder / name) if (folder / name).exists() else b"" for name in names
        )
    return Signals(width, height, pictures, movement, memoryview(loudness[: len(loudness) // 2 * 2]).cast("h"))
