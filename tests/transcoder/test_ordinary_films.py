"""Films that players show without a complaint become lessons: as long, in sync, and of the right shape.

Each lesson is compared with what plain ffmpeg makes of the whole film (`oracle`).
"""

import subprocess
from pathlib import Path

import pytest

from services.transcoder.encoding.local_pipeline import Lesson, make_lesson
from services.transcoder.ffmpeg.process import Ffmpeg
from services.transcoder.hls.lint.check import check
from tests.transcoder import edit_lists, oracle
from tests.transcoder.films import QUICK

_FAST = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"]
_AAC = ["-c:a", "aac", "-b:a", "96k"]
SYNC_SECONDS = 0.020


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Films that several tests begin with."""
    return tmp_path_factory.mktemp("ordinary")


def run(*arguments: str | Path) -> None:
    call = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-bitexact", *map(str, arguments)]
    subprocess.run(call, check=True, capture_output=True, timeout=120)


def once(path: Path, *arguments: str | Path) -> Path:
    if not path.exists():
        run(*arguments, path)
    return path


def lesson_of(film: Path, folder: Path, ffmpeg: Ffmpeg) -> Lesson:
    """The lesson that is made of `film`, which keeps every MUST rule."""
    lesson = make_lesson(film, folder / "lesson", ffmpeg, recipe=QUICK, jobs=2)
    report = check(str(lesson.folder / "master.m3u8"))
    assert [finding.message for finding in report.errors] == []
    return lesson


def assert_same(film: Path, lesson: Lesson, folder: Path) -> None:
    """The lesson flashes when the film does, beeps when it does, and is as long."""
    seen = oracle.film(film, folder)
    rate = float(lesson.plan.rate)
    assert seen.frames == 0 or abs(float(lesson.plan.duration_seconds) - seen.seconds) <= 1.5 / rate + 0.001
    for rung in lesson.plan.rungs:
        flashes, frames = oracle.rendition(lesson.folder / rung.name, rate)
        assert frames == lesson.plan.frames
        assert len(flashes) == len(seen.flashes)
        assert all(abs(a - b) <= 1 / rate + 0.011 for a, b in zip(flashes, seen.flashes, strict=True))
        if seen.beeps:
            beeps = oracle.beeps(lesson.folder / lesson.plan.sounds[0].name)
            assert_in_sync(seen, flashes, beeps, rate)


def assert_in_sync(seen: oracle.Seen, flashes: list[float], beeps: list[float], rate: float) -> None:
    expected = [_offset(flash, seen.beeps) for flash in seen.flashes]
    made = [_offset(flash, beeps) for flash in flashes]
    steps = [now - then for now, then in zip(made, expected, strict=True) if abs(then) < 0.3]
    assert len(steps) >= 3
    print("sync", [round(1000 * step) for step in steps])
    # a flash is found to a picture in the lesson and to a hundredth of a second in the film
    slack = SYNC_SECONDS + 0.5 / rate
    assert all(abs(step) <= slack for step in steps), steps
    assert abs(sorted(steps)[len(steps) // 2]) <= SYNC_SECONDS, steps


def _offset(flash: float, beeps: list[float]) -> float:
    return min((beep - flash for beep in beeps), key=abs)


def plain(cache: Path) -> Path:
    return once(cache / "plain.mp4", *oracle.picture(20), *oracle.sound(20), *_FAST, "-g", "50", *_AAC)


@pytest.mark.parametrize(
    "trim",
    [["-ss", "10"], ["-ss", "9.3"], ["-t", "10"], ["-ss", "4.1", "-t", "7"]],
    ids=["the last 10 s", "not at a key frame", "the first 10 s", "the middle"],
)
def test_a_film_trimmed_by_an_edit_list_is_as_long_as_players_show_it(
    trim: list[str], cache: Path, ffmpeg: Ffmpeg, tmp_path: Path
) -> None:
    film = tmp_path / "trimmed.mp4"
    edit_lists.trim(plain(cache), film, *_span(trim))

    assert_same(film, lesson_of(film, tmp_path, ffmpeg), tmp_path)


def _span(trim: list[str]) -> tuple[float, float | None]:
    given = dict(zip(trim[::2], trim[1::2], strict=True))
    return float(given.get("-ss", 0)), float(given["-t"]) if "-t" in given else None
