"""The ladder `auto`: fewer bytes on slides at equal quality, and a natural film as the fixed ladder has it."""

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from services.transcoder.encoding.local_pipeline import Lesson, make_lesson
from services.transcoder.encoding.plan_lesson import plan_lesson
from services.transcoder.ffmpeg.process import Ffmpeg
from services.transcoder.hls.lint.check import check
from services.transcoder.inspection.inspect_and_rewrap import prepare
from services.transcoder.planning.auto_ladder import Outcome, chosen
from services.transcoder.planning.profile import EncodingProfile
from tests.transcoder.films import QUICK
from tests.transcoder.jobs.test_playback import big_buck_bunny

FIXED = replace(QUICK, preset="veryfast")
AUTO = replace(FIXED, ladder="auto")


def _slides(folder: Path, size: str = "640x360", seconds: int = 12) -> Path:
    """Slides of text and a grid, six seconds each."""
    film = folder / "slides.mp4"
    words = "drawtext=text='Optique %{eif\\:floor(t/6)+1\\:d}':x=40:y=30:fontsize=36,"
    words += "drawtext=text='n1 sin(i) = n2 sin(r)':x=60:y=120:fontsize=48,drawgrid=w=80:h=45:t=1:c=gray@0.4"
    source = ["-f", "lavfi", "-i", f"color=c=white:s={size}:r=25:d={seconds}", "-vf", words]
    subprocess.run(["ffmpeg", "-v", "error", *source, "-c:v", "libx264", "-crf", "12", str(film)], check=True)
    return film


def _bytes(lesson: Lesson) -> int:
    return sum(sum(lesson.assembly.renditions[rung.name].sizes) for rung in lesson.plan.rungs)


def _likeness(lesson: Lesson, film: Path) -> float:
    """SSIM of the largest rendition with the film, by plain ffmpeg."""
    made = str(lesson.folder / lesson.plan.rungs[0].name / "media.m3u8")
    compare = "[0:v]settb=1/25,setpts=N[a];[1:v]settb=1/25,setpts=N[b];[a][b]ssim"
    call = ["ffmpeg", "-nostats", "-i", made, "-i", str(film), "-lavfi", compare]
    printed = subprocess.run([*call, "-f", "null", "-"], check=True, capture_output=True, text=True).stderr
    found = re.search(r"SSIM .*All:([0-9.]+)", printed)
    assert found
    return float(found[1])


@pytest.mark.slow
def test_slides_take_a_third_less_at_the_same_quality(tmp_path: Path, ffmpeg: Ffmpeg) -> None:
    film = _slides(tmp_path)

    fixed = make_lesson(film, tmp_path / "fixed", ffmpeg, recipe=FIXED)
    auto = make_lesson(film, tmp_path / "auto", ffmpeg, recipe=AUTO)

    assert _bytes(auto) <= 0.7 * _bytes(fixed)
    assert _likeness(auto, film) >= _likeness(fixed, film) - 0.0005
    assert [finding.message for finding in check(str(auto.folder / "master.m3u8")).errors] == []
    # measuring again gives the same plan
    again = make_lesson(film, tmp_path / "again", ffmpeg, recipe=AUTO)
    assert again.plan == auto.plan


@pytest.mark.slow
def test_a_large_picture_is_measured_within_the_memory_of_one_process(tmp_path: Path, ffmpeg: Ffmpeg) -> None:
    film = _slides(tmp_path, "1920x1080", 6)
    prepared = prepare(film, tmp_path, ffmpeg, AUTO)

    # all trials in one ffmpeg were out of memory, and the lesson had the fixed ladder
    assert plan_lesson(prepared, AUTO, tmp_path, ffmpeg).recipe.groups_per_segment == 1


@pytest.mark.slow
def test_a_natural_film_keeps_the_quality_of_the_fixed_ladder(tmp_path: Path, ffmpeg: Ffmpeg) -> None:
    # a quarter of its pixels, for a quarter of the time
    film = tmp_path / "natural.mp4"
    call = ["ffmpeg", "-v", "error", "-i", str(big_buck_bunny()), "-vf", "scale=640:360", "-c:a", "copy"]
    subprocess.run([*call, "-c:v", "libx264", "-crf", "12", str(film)], check=True)

    auto = make_lesson(film, tmp_path / "auto", ffmpeg, recipe=AUTO)

    assert auto.plan.recipe.crf_offset is None
    fixed = make_lesson(film, tmp_path / "fixed", ffmpeg, recipe=FIXED)
    assert _likeness(auto, film) >= _likeness(fixed, film) - 0.0015


_SAME = [Outcome(100, 96.0), Outcome(75, 96.6), Outcome(67, 96.3)]
_SAME += [Outcome(60, 96.0), Outcome(50, 95.8), Outcome(45, 95.4), Outcome(40, 95.6)]


def test_the_worst_sample_decides() -> None:
    easy = chosen(EncodingProfile(), "vmaf", [_SAME])
    # the step that loses too much ends the search, whatever comes after it
    assert (easy.groups_per_segment, easy.crf_offset) == (1, 2)

    busy = [Outcome(1000, 90.0), Outcome(1200, 92.0), Outcome(1100, 91.0)]
    busy += [Outcome(990, 90.0), Outcome(900, 88.9), Outcome(800, 88.0), Outcome(700, 87.0)]
    mixed = chosen(EncodingProfile(), "vmaf", [_SAME, busy])
    assert (mixed.groups_per_segment, mixed.crf_offset) == (3, None)


def test_what_long_groups_lose_a_lower_rate_factor_makes_up_for() -> None:
    # six seconds of a slide, as they were measured
    sizes = (100_726, 44_000, 39_000, 34_580, 31_834, 29_053, 26_425)
    scores = (93.95, 94.9, 93.8, 92.13, 91.05, 88.55, 85.93)
    slides = [Outcome(size, score) for size, score in zip(sizes, scores, strict=True)]

    best = chosen(EncodingProfile(), "vmaf", [slides])
    assert (best.groups_per_segment, best.crf_offset) == (1, -2)

    # where even the lowest one loses too much, or saves nothing, key frames stay where they are
    worse = [slides[0], *(replace(one, quality=one.quality - 3) for one in slides[1:])]
    larger = [slides[0], *(replace(one, size_bytes=3 * one.size_bytes) for one in slides[1:])]
    for film in (worse, larger):
        kept = chosen(EncodingProfile(), "vmaf", [film])
        assert (kept.groups_per_segment, kept.crf_offset) == (3, None)


def test_the_name_of_a_fixed_lesson_does_not_depend_on_choices_that_it_does_not_make() -> None:
    assert EncodingProfile(ladder=None, crf_offset=None) == EncodingProfile()
