"""The MPEG-DASH manifest plays the same segments: ffmpeg's DASH demuxer finds every picture, sound and channel."""

import json
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from services.transcoder.encoding.local_pipeline import Lesson, make_lesson
from services.transcoder.ffmpeg.process import Ffmpeg
from services.transcoder.hls.encryption import Key
from services.transcoder.hls.lint.check import check
from tests.transcoder.encoding.test_carried import carrying
from tests.transcoder.films import QUICK

_MPD = "{urn:mpeg:dash:schema:mpd:2011}"


@pytest.fixture(scope="module")
def surround_film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven seconds at NTSC's rate, with an Arabic track of 5.1 and a French one of stereo."""
    film = tmp_path_factory.mktemp("surround") / "film.mkv"
    speech = "anoisesrc=d=7:c=pink:a=0.4"
    words = ["-f", "lavfi", "-i", "testsrc2=s=640x360:r=30000/1001:d=7"]
    words += ["-f", "lavfi", "-i", f"{speech},pan=5.1|FL=0.5*c0|FR=0.5*c0|FC=c0|BL=0.2*c0|BR=0.2*c0|LFE=0*c0"]
    words += ["-f", "lavfi", "-i", f"{speech},pan=stereo|c0=c0|c1=c0", "-map", "0", "-map", "1", "-map", "2"]
    words += ["-c:v", "libx264", "-preset", "ultrafast", "-c:a", "flac"]
    words += ["-metadata:s:a:0", "language=ara", "-metadata:s:a:1", "language=fra"]
    subprocess.run(["ffmpeg", "-v", "error", *words, str(film)], check=True)
    return film


@pytest.fixture(scope="module")
def lesson(surround_film: Path, tmp_path_factory: pytest.TempPathFactory, ffmpeg: Ffmpeg) -> Lesson:
    return make_lesson(surround_film, tmp_path_factory.mktemp("made") / "lesson", ffmpeg, recipe=QUICK)


def _streams(address: Path) -> list[dict[str, Any]]:
    call = ["ffprobe", "-v", "error", "-count_packets", "-show_streams", "-of", "json", str(address)]
    return list(json.loads(subprocess.run(call, check=True, capture_output=True, text=True).stdout)["streams"])


def _manifest(lesson: Lesson) -> ElementTree.Element:
    # our own writing
    return ElementTree.fromstring((lesson.folder / "manifest.mpd").read_bytes())  # noqa: S314


def test_five_point_one_stands_beside_stereo_and_sound_alone_is_a_variant(lesson: Lesson) -> None:
    master = (lesson.folder / "master.m3u8").read_text()

    media = [line for line in master.splitlines() if line.startswith("#EXT-X-MEDIA")]
    assert [('CHANNELS="6"' in line, 'LANGUAGE="ar"' in line, "DEFAULT=YES" in line) for line in media] == [
        (False, True, True),
        (False, False, False),
        (True, True, False),
    ]
    variants = [line for line in master.splitlines() if line.startswith("#EXT-X-STREAM-INF")]
    assert ["RESOLUTION" in line for line in variants] == [True, True, False]
    assert 'CODECS="mp4a.40.2"' in variants[-1]
    (sound,) = _streams(lesson.folder / "surround0" / "media.m3u8")
    assert (sound["channels"], sound["channel_layout"]) == (6, "5.1")
    assert [finding.message for finding in check(str(lesson.folder / "master.m3u8")).errors] == []


def test_the_manifest_names_every_rendition_and_ffmpeg_reads_all_of_it(lesson: Lesson) -> None:
    tree = _manifest(lesson)
    named = {one.attrib["id"]: one.attrib for one in tree.iter(f"{_MPD}Representation")}
    assert set(named) == {"360p", "240p", "audio0", "audio1", "surround0"}
    assert named["360p"]["frameRate"] == "30000/1001"

    found = _streams(lesson.folder / "manifest.mpd")

    pictures = [one for one in found if one["codec_type"] == "video"]
    assert sorted(one["height"] for one in pictures) == [240, 360]
    assert {int(one["nb_read_packets"]) for one in pictures} == {lesson.plan.frames}
    sounds = [one for one in found if one["codec_type"] == "audio"]
    assert sorted(one["channels"] for one in sounds) == [2, 2, 6]
    packets = float(lesson.plan.duration_seconds) * 48_000 / 1024
    assert all(abs(int(one["nb_read_packets"]) - packets) <= 2 for one in sounds)


def test_the_timeline_is_that_of_the_segments(lesson: Lesson) -> None:
    tree = _manifest(lesson)
    for one in tree.iter(f"{_MPD}Representation"):
        made = lesson.assembly.renditions[one.attrib["id"]]
        starts = []
        for step in one.iter(f"{_MPD}S"):
            repeated = int(step.attrib.get("r", 0)) + 1
            starts += [int(step.attrib["t"]) + i * int(step.attrib["d"]) for i in range(repeated)]
        assert starts == [segment.time for segment in made.segments]


def test_captions_are_whole_files_in_the_manifest(tmp_path: Path, ffmpeg: Ffmpeg) -> None:
    lesson = make_lesson(carrying(tmp_path, "mkv", "srt"), tmp_path / "lesson", ffmpeg, recipe=QUICK)

    tree = _manifest(lesson)
    texts = [one for one in tree.iter(f"{_MPD}AdaptationSet") if one.attrib["contentType"] == "text"]

    assert [one.attrib["lang"] for one in texts] == ["ar", "fr"]
    for one in texts:
        address = one.find(f"{_MPD}Representation/{_MPD}BaseURL")
        assert address is not None
        assert (lesson.folder / str(address.text)).read_text().startswith("WEBVTT")


def test_an_encrypted_lesson_has_no_manifest(surround_film: Path, tmp_path: Path, ffmpeg: Ffmpeg) -> None:
    key = Key(bytes(range(16)), "../a.key")

    lesson = make_lesson(surround_film, tmp_path / "lesson", ffmpeg, recipe=QUICK, key=key)

    assert not (lesson.folder / "manifest.mpd").exists()
