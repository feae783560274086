"""Sound and picture stay together: a flash and a beep each second, compared before and after."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from services.transcoder.encoding.local_pipeline import make_lesson
from services.transcoder.ffmpeg.process import Ffmpeg
from tests.transcoder.films import QUICK

SECONDS = 8


def _flash_and_beep(path: Path, offset: float) -> None:
    """White for one picture, and a beep, each whole second; the sound is `offset` seconds late."""
    picture = f"color=black:s=64x48:r=25:d={SECONDS},drawbox=t=fill:color=white:enable='lt(mod(t,1),0.04)'"
    sound = f"sine=frequency=1000:sample_rate=48000:duration={SECONDS},volume='lt(mod(t,1),0.05)':eval=frame"
    call = ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", picture, "-itsoffset", str(offset), "-f", "lavfi", "-i",
            f"{sound},asetnsamples=48", "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac",
            str(path)]  # fmt: skip
    subprocess.run(call, check=True, capture_output=True, timeout=60)


def _decoded(arguments: list[str]) -> bytes:
    call = ["ffmpeg", "-v", "error", *arguments, "pipe:1"]
    return subprocess.run(call, check=True, capture_output=True, timeout=60).stdout


def _flashes(folder: Path, rate: int) -> list[float]:
    data = b"".join(file.read_bytes() for file in [folder / "init.mp4", *sorted(folder.glob("[0-9]*.m4s"))])
    whole = folder / "whole.bin"
    whole.write_bytes(data)
    pixels = _decoded(
        ["-i", str(whole), "-vf", "scale=1:1", "-pix_fmt", "gray", "-f", "rawvideo", "-fps_mode", "passthrough"]
    )
    return [i / rate for i in range(1, len(pixels)) if pixels[i] > 128 >= pixels[i - 1]]


def _beeps(folder: Path) -> list[float]:
    whole = folder / "whole.bin"
    files = [folder / "init.mp4", *sorted(folder.glob("[0-9]*.m4s"))]
    whole.write_bytes(b"".join(file.read_bytes() for file in files))
    samples = memoryview(_decoded(["-i", str(whole), "-ac", "1", "-f", "s16le"])).cast("h")
    loud = [i for i, sample in enumerate(samples) if abs(sample) > 1500]
    starts = [at for before, at in zip([-100_000, *loud], loud, strict=False) if at - before > 20_000]
    return [at / 48_000 for at in starts]


@pytest.mark.parametrize("offset", [0.0, 0.4])
def test_beeps_stay_on_their_flashes(
    offset: float, ffmpeg: Ffmpeg, tmp_path: Path, film: Callable[[str], Path]
) -> None:
    _flash_and_beep(tmp_path / "film.mp4", offset)

    lesson = make_lesson(tmp_path / "film.mp4", tmp_path / "lesson", ffmpeg, recipe=QUICK, jobs=2)

    flashes = _flashes(lesson.folder / "48p", 25)
    beeps = _beeps(lesson.folder / "audio0")
    late = [min((beep - flash for beep in beeps), key=lambda step: abs(step - offset)) for flash in flashes]
    # the first beep has no packet before it; the last may be cut off by the end of the picture
    assert len(late) >= SECONDS - 2
    assert all(abs(step - offset) < 0.021 for step in late[1:-1]), late
