"""The checker finds what is wrong with a lesson only beside its film: stretched frames, and sound that moved."""

import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from services.transcoder.encoding.local_pipeline import Lesson, make_lesson
from services.transcoder.ffmpeg.process import Ffmpeg
from services.transcoder.hls.lint.check import check
from services.transcoder.hls.lint.film_signals import Film
from services.transcoder.hls.mp4 import first
from tests.transcoder import ivf
from tests.transcoder.strangers import makers
from tests.transcoder.strangers.figures import PROFILE
from tests.transcoder.strangers.recipes import RECIPES


def film(name: str) -> Path:
    return makers.film(next(recipe for recipe in RECIPES if recipe.name == name))


def broken(lesson: Lesson, path: Path, ffmpeg: Ffmpeg) -> list[str]:
    """What is wrong with a lesson beside a film."""
    report = check(str(lesson.folder / "master.m3u8"), Film(path, ffmpeg))
    assert report.unreadable == ()
    return [finding.message for finding in report.errors]


@pytest.fixture(scope="module")
def lesson(ffmpeg: Ffmpeg, tmp_path_factory: pytest.TempPathFactory) -> Lesson:
    folder = tmp_path_factory.mktemp("lint") / "lesson"
    return make_lesson(film("H.264 and AAC in MP4"), folder, ffmpeg, recipe=PROFILE, jobs=2)


def test_a_lesson_shows_and_sounds_as_its_film(lesson: Lesson, ffmpeg: Ffmpeg) -> None:
    assert broken(lesson, film("H.264 and AAC in MP4"), ffmpeg) == []


def test_sound_that_moved_is_found(lesson: Lesson, ffmpeg: Ffmpeg) -> None:
    (message,) = broken(lesson, film("late sound by mkvmerge"), ffmpeg)

    # the mark 300 ms later is the film's
    assert "sound is -3" in message


@pytest.mark.slow
def test_a_half_that_is_stretched_is_found_where_it_begins(ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    halves = []
    for width, height in ((320, 180), (180, 240)):
        half = tmp_path / f"{width}.ivf"
        picture = f"testsrc2=size={width}x{height}:rate=25:duration=3"
        call = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-f", "lavfi", "-i", picture, "-c:v", "libvpx"]
        subprocess.run([*call, "-deadline", "realtime", "-auto-alt-ref", "0", half], check=True, timeout=60)
        halves.append(half)
    original, stretched = tmp_path / "film.ivf", tmp_path / "stretched.mp4"
    ivf.join(halves, original)
    # plain ffmpeg scales each frame to the first one's size
    call = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-i", str(original), "-c:v", "libx264", "-preset", "ultrafast"]
    subprocess.run([*call, stretched], check=True, timeout=60)

    wrong = make_lesson(stretched, tmp_path / "wrong", ffmpeg, recipe=PROFILE, jobs=2)
    right = make_lesson(original, tmp_path / "right", ffmpeg, recipe=PROFILE, jobs=2)

    assert broken(wrong, original, ffmpeg) == ["180p/media.m3u8: other pictures at 3.5 s, 4.5 s, 5.5 s"]
    assert broken(right, original, ffmpeg) == []


def test_a_variant_that_is_shown_in_another_shape_is_found(lesson_of: Callable[[str], Lesson], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(lesson_of("three renditions").folder, tmp_path / "lesson"))
    path = folder / "360p" / "init.mp4"
    data = bytearray(path.read_bytes())
    tkhd = first(bytes(data), "moov/trak/tkhd")
    struct.pack_into(">I", data, tkhd.body + 76, 640 << 16)
    path.write_bytes(data)

    report = check(str(folder / "master.m3u8"))

    assert [finding.message for finding in report.errors] == [
        "360p/media.m3u8: 480 x 360 pixels are shown as 640 x 360"
    ]
