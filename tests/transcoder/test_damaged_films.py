"""Films with a little damage become lessons with a warning; films with much are rejected."""

import itertools
import re
from pathlib import Path

import pytest

from services.transcoder.encoding.local_pipeline import make_lesson
from services.transcoder.errors import Reason, RejectedInputError
from services.transcoder.ffmpeg.process import Ffmpeg
from services.transcoder.inspection.inspect_and_rewrap import prepare
from tests.transcoder import oracle
from tests.transcoder.films import QUICK, further
from tests.transcoder.test_ordinary_films import AAC, FAST, assert_same, cache, lesson_of, once, run

__all__ = ["cache"]


def flipped(film: Path, target: Path, share: float, count: int = 1) -> Path:
    """A copy of `film` in which `count` bytes from `share` of the way in are others."""
    data = bytearray(film.read_bytes())
    at = int(len(data) * share)
    data[at : at + count] = bytes(byte ^ 0x55 for byte in data[at : at + count])
    target.write_bytes(data)
    return target


def without_packet(film: Path, target: Path) -> Path:
    """A copy of a transport stream without the first packet after the middle that is picture and begins no frame."""
    data = film.read_bytes()
    packets = [data[at : at + 188] for at in range(0, len(data), 188)]
    place = next(i for i in range(len(packets) // 2, len(packets)) if packets[i][1:3] == b"\x01\x00")
    target.write_bytes(b"".join(packets[:place] + packets[place + 1 :]))
    return target


def cut_in_sound(film: Path, target: Path, share: float) -> Path:
    """A transport stream that ends within a packet of sound, `share` of the way in: the recorder lost its power."""
    data = film.read_bytes()
    packets = [data[at : at + 188] for at in range(0, len(data), 188)]
    sound = [
        i for i in range(int(len(packets) * share), len(packets)) if packets[i][1] & 0x1F == 1 and packets[i][2] == 1
    ]
    # one that begins, and goes on in another
    place = next(i for i, after in itertools.pairwise(sound) if packets[i][1] & 0x40 and not packets[after][1] & 0x40)
    target.write_bytes(b"".join(packets[: place + 1]))
    return target


def noisy(cache: Path, ending: str, *codec: str) -> Path:
    """A film of which nearly every byte is part of some frame."""
    picture = "testsrc2=size=320x180:rate=25:duration=20,noise=alls=20:allf=t"
    arguments = ["-f", "lavfi", "-i", picture, *oracle.sound(20), *codec, *AAC]
    return once(cache / f"noisy.{ending}", *arguments, *(["-muxdelay", "0"] if ending == "ts" else []))


@pytest.mark.parametrize("ending", ["mp4", further("mkv"), further("ts")])
@pytest.mark.parametrize("share", [further(0.3), 0.52, further(0.8)])
def test_one_flipped_byte_costs_a_warning_and_not_the_lesson(
    ending: str, share: float, cache: Path, ffmpeg: Ffmpeg, tmp_path: Path
) -> None:
    film = flipped(noisy(cache, ending, *FAST, "-g", "50"), tmp_path / f"film.{ending}", share)

    lesson = lesson_of(film, tmp_path, ffmpeg)

    # the coder's delay may begin the film a few milliseconds before its first frame
    assert lesson.plan.frames in (500, 501)
    for warning in lesson.warnings:
        assert warning.code == "damaged_picture"
        seconds = 20 * share
        found = re.search(r"damaged at 0:(\d\d)", warning.text)
        assert found, warning.text
        assert abs(int(found[1]) - seconds) <= 2, warning.text


def test_a_missing_transport_packet_costs_a_warning_and_not_the_lesson(
    cache: Path, ffmpeg: Ffmpeg, tmp_path: Path
) -> None:
    film = without_packet(noisy(cache, "ts", *FAST, "-g", "50"), tmp_path / "film.ts")

    lesson = lesson_of(film, tmp_path, ffmpeg)

    # the coder's delay may begin the film a few milliseconds before its first frame
    assert lesson.plan.frames in (500, 501)
    assert [warning.code for warning in lesson.warnings] == ["damaged_picture"]
    assert "damaged at 0:" in lesson.warnings[0].text


@pytest.mark.parametrize("share", [0.46, further(0.3), further(0.65)])
def test_a_transport_stream_that_ends_within_a_packet_of_sound_stays_in_sync(
    share: float, ffmpeg: Ffmpeg, tmp_path: Path
) -> None:
    whole = tmp_path / "whole.ts"
    run(*oracle.picture(20), *oracle.sound(20), *FAST, "-g", "50", "-bf", "2", *AAC, whole)
    film = cut_in_sound(whole, tmp_path / "film.ts", share)

    lesson = lesson_of(film, tmp_path, ffmpeg)

    assert_same(film, lesson, tmp_path)
    (warning,) = lesson.warnings
    assert warning.code == "damaged_sound"
    found = re.search(r"damaged at 0:(\d\d)", warning.text)
    assert found, warning.text
    assert abs(int(found[1]) - 20 * share) <= 1, warning.text


def test_of_a_recording_that_starts_between_two_key_pictures_only_the_end_is_damaged(
    ffmpeg: Ffmpeg, tmp_path: Path
) -> None:
    # Given a recorder that began within a group of two seconds, and lost its power
    whole = tmp_path / "whole.ts"
    run(*oracle.picture(20), *oracle.sound(20), *FAST, "-g", "50", "-bf", "2", *AAC, whole)
    data = whole.read_bytes()
    (tmp_path / "late.ts").write_bytes(data[len(data) // 188 // 7 * 188 :])
    film = cut_in_sound(tmp_path / "late.ts", tmp_path / "film.ts", 0.9)

    # When its packets are put into Matroska
    (tmp_path / "made").mkdir()
    prepared = prepare(film, tmp_path / "made", ffmpeg, QUICK)

    # Then all that can be decoded came along, and no picture before the first key picture is missed
    assert prepared.path.name == "source.mkv"
    assert [warning.code for warning in prepared.source.warnings] == ["damaged_sound"]


def test_a_film_of_which_more_than_a_hundredth_is_damaged_is_refused(
    cache: Path, ffmpeg: Ffmpeg, tmp_path: Path
) -> None:
    whole = noisy(cache, "mp4", *FAST, "-g", "50")
    film = flipped(whole, tmp_path / "film.mp4", 0.5, whole.stat().st_size // 20)

    with pytest.raises(RejectedInputError) as caught:
        make_lesson(film, tmp_path / "lesson", ffmpeg, recipe=QUICK)

    assert caught.value.reason is Reason.DAMAGED


@pytest.mark.parametrize("ending", ["mp4", "avi"])
def test_a_film_whose_very_end_is_missing_is_a_lesson_with_a_warning(
    ending: str, cache: Path, ffmpeg: Ffmpeg, tmp_path: Path
) -> None:
    whole, film = tmp_path / f"whole.{ending}", tmp_path / f"film.{ending}"
    front = ["-movflags", "+faststart"] if ending == "mp4" else []
    run("-i", noisy(cache, "mp4", *FAST, "-g", "50"), "-c", "copy", *front, whole)
    data = whole.read_bytes()
    # an AVI ends with its index: without that and its last four frames
    end = [found.start() for found in re.finditer(b"00dc", data[: data.rfind(b"idx1")])][-4:]
    film.write_bytes(data[: end[0] if ending == "avi" else int(len(data) * 0.994)])

    lesson = lesson_of(film, tmp_path, ffmpeg)

    assert "cut_off" in [warning.code for warning in lesson.warnings]
    assert lesson.plan.frames >= 495
