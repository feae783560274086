"""Sound is levelled to one loudness (EBU R128) without clipping; the oracle is ffmpeg's meter on finished lessons."""

import math
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from services.transcoder.encoding.local_pipeline import Lesson, make_lesson
from services.transcoder.ffmpeg.process import Ffmpeg
from services.transcoder.planning.loudness import Loudness, LoudnessLog, level_of
from tests.transcoder.films import QUICK, further

LEVELLED = replace(QUICK, loudness_lufs=-16.0)
#: Something like speech: noise in syllables, with pauses.
_SPEECH = "anoisesrc=d=6:c=pink:a=0.5:seed=7,tremolo=f=4:d=0.9,volume='if(lt(mod(t,2),1.6),1,0.01)':eval=frame"


def _made(sound: str, tmp_path: Path, ffmpeg: Ffmpeg, *words: str, loudness_lufs: float | None = -16.0) -> Lesson:
    film = tmp_path / "film.mka"
    call = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", sound, *words, "-c:a", "flac", str(film)]
    subprocess.run(call, check=True)
    recipe = replace(QUICK, loudness_lufs=loudness_lufs)
    return make_lesson(film, tmp_path / "lesson", ffmpeg, recipe=recipe)


def _heard(path: Path) -> Loudness:
    call = ["ffmpeg", "-hide_banner", "-nostats", "-i", str(path), "-af", "ebur128=peak=true", "-f", "null", "-"]
    log = LoudnessLog()
    for line in subprocess.run(call, check=True, capture_output=True, text=True).stderr.splitlines():
        log.line(line)
    assert log.loudness is not None
    return log.loudness


@pytest.mark.parametrize(
    ("kind", "sound"),
    [
        ("quiet speech", f"{_SPEECH},volume=-8dB"),
        further("loud speech", f"{_SPEECH},volume=12dB"),
        further("a tone", "sine=f=440:d=5,volume=-10dB"),
        ("clicks above quiet speech", f"{_SPEECH},volume=-8dB,aeval='val(0)+0.9*lt(mod(t\\,1)\\,0.002)'"),
        further("5.1", f"{_SPEECH},volume=-4dB,pan=5.1|FL=c0|FR=c0|FC=c0|BL=0.3*c0|BR=0.3*c0|LFE=0*c0"),
        further("clipped music", "aevalsrc='0.9*sgn(sin(440*PI*t)+sin(2*PI*601*t))':d=5"),
    ],
)
def test_a_lesson_is_as_loud_as_the_setting_says_and_does_not_clip(
    kind: str, sound: str, tmp_path: Path, ffmpeg: Ffmpeg
) -> None:
    lesson = _made(sound, tmp_path, ffmpeg)

    heard = _heard(lesson.folder / "master.m3u8")

    assert heard.lufs == pytest.approx(-16.0, abs=1.0)
    assert heard.peak_dbtp <= -1.0


@pytest.mark.parametrize(
    ("sound", "most_lufs"),
    [("anullsrc=d=3", -70.0), ("anoisesrc=d=4:c=white:a=0.001", -60.0), (f"{_SPEECH},volume=-22dB", -25.0)],
)
def test_silence_and_noise_are_not_raised_and_what_is_very_quiet_is_raised_by_a_bound(
    sound: str, most_lufs: float, tmp_path: Path, ffmpeg: Ffmpeg
) -> None:
    lesson = _made(sound, tmp_path, ffmpeg, "-t", "4")

    assert _heard(lesson.folder / "master.m3u8").lufs <= most_lufs


def test_the_sound_stays_where_it_was_when_a_limiter_holds_its_peaks(tmp_path: Path, ffmpeg: Ffmpeg) -> None:
    clicks = f"{_SPEECH},volume=-24dB,aeval='val(0)+0.9*lt(mod(t\\,1)\\,0.002)'"
    lesson = _made(clicks, tmp_path, ffmpeg)

    decode = ["ffmpeg", "-v", "error", "-i", str(lesson.folder / "master.m3u8"), "-ac", "1", "-f", "f32le", "-"]
    raw = memoryview(subprocess.run(decode, check=True, capture_output=True).stdout).cast("f")
    for second in (1, 2, 3, 4):
        window = raw[second * 48_000 - 4800 : second * 48_000 + 4800]
        loudest = max(range(len(window)), key=lambda i: abs(window[i]))
        assert loudest - 4800 == pytest.approx(48, abs=96)


def test_a_lesson_is_left_as_it_was_recorded_where_the_setting_is_off(tmp_path: Path, ffmpeg: Ffmpeg) -> None:
    lesson = _made("sine=f=440:d=3,volume=-20dB", tmp_path, ffmpeg, loudness_lufs=None)

    assert _heard(lesson.folder / "master.m3u8").lufs == pytest.approx(_heard(tmp_path / "film.mka").lufs, abs=0.3)


def test_no_number_is_made_of_what_cannot_be_measured() -> None:
    assert level_of(Loudness(-math.inf, -math.inf), -16.0).gain_db == 0.0
