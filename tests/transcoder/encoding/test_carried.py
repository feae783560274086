"""What an upload carries beside picture and sound: its subtitles become captions, its chapters are listed."""

import json
import subprocess
from pathlib import Path

import pytest

from services.transcoder.encoding.local_pipeline import Lesson, make_lesson
from services.transcoder.ffmpeg.process import Ffmpeg
from services.transcoder.hls.lint.check import check
from services.transcoder.planning.source import Chapter
from shared.runtime.webvtt import Cue, parse_captions
from tests.transcoder.films import QUICK

ARABIC = "1\n00:00:00,500 --> 00:00:02,000\nمرحبا بكم\n\n2\n00:00:02,500 --> 00:00:03,500\n<i>انكسار</i> & الضوء\n"
FRENCH = "1\n00:00:00,500 --> 00:00:02,000\nBonjour\n"
SIGNS = "1\n00:00:01,000 --> 00:00:02,000\nPanneau\n"
CHAPTERS = ((0, 1500, "مقدمة"), (1500, 3000, "Optique \\= lumière"), (3000, 4000, "Exercices"))


def carrying(folder: Path, ending: str, codec: str, *, late: float = 0.0) -> Path:
    """A film of four seconds with Arabic and French subtitles, French signs, and three chapters."""
    moved = round(1000 * late)
    chapters = ";FFMETADATA1\n" + "".join(
        f"[CHAPTER]\nTIMEBASE=1/1000\nSTART={start + moved}\nEND={end + moved}\ntitle={title}\n"
        for start, end, title in CHAPTERS
    )
    for name, text in (("ar.srt", ARABIC), ("fr.srt", FRENCH), ("signs.srt", SIGNS), ("chapters.txt", chapters)):
        (folder / name).write_text(text, encoding="utf-8")
    words = ["-f", "lavfi", "-i", "testsrc2=s=160x90:r=25:d=4", "-f", "lavfi", "-i", "sine=d=4"]
    for name in ("signs.srt", "ar.srt", "fr.srt", "chapters.txt"):
        words += ["-i", str(folder / name)]
    words += ["-map", "0:v", "-map", "1:a", "-map", "2:s", "-map", "3:s", "-map", "4:s", "-map_metadata", "5"]
    words += ["-map_chapters", "5", "-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac", "-c:s", codec]
    for number, language in enumerate(("fra", "ara", "fra")):
        words += [f"-metadata:s:s:{number}", f"language={language}"]
    words += ["-disposition:s:0", "forced", "-disposition:s:1", "0", "-disposition:s:2", "0"]
    words += ["-output_ts_offset", str(late)] if late else []
    film = folder / f"film.{ending}"
    subprocess.run(["ffmpeg", "-v", "error", "-y", *words, str(film)], check=True)
    return film


def cues_of(lesson: Lesson, language: str) -> list[Cue]:
    (folder,) = (lesson.folder / "captions").glob(f"{language}-*")
    found = {cue for file in folder.glob("*.vtt") for cue in parse_captions(file.read_bytes())}
    return sorted(found, key=lambda cue: cue.start_ms)


@pytest.mark.parametrize(
    ("ending", "codec", "late"),
    [("mkv", "srt", 0.0), ("mkv", "ass", 0.0), ("mkv", "webvtt", 5.0), ("mp4", "mov_text", 0.0)],
)
def test_subtitles_of_every_text_form_become_captions_and_chapters_are_listed(
    ending: str, codec: str, late: float, tmp_path: Path, ffmpeg: Ffmpeg
) -> None:
    lesson = make_lesson(carrying(tmp_path, ending, codec, late=late), tmp_path / "lesson", ffmpeg, recipe=QUICK)

    arabic, french = cues_of(lesson, "ar"), cues_of(lesson, "fr")
    # the signs alone are not the French captions
    assert [cue.text for cue in french] == ["Bonjour"]
    assert [cue.text.replace("<i>", "").replace("</i>", "") for cue in arabic] == ["مرحبا بكم", "انكسار &amp; الضوء"]
    for cue, (start, end) in zip(arabic, ((500, 2000), (2500, 3500)), strict=True):
        assert cue.start_ms == pytest.approx(start, abs=25)
        assert cue.end_ms == pytest.approx(end, abs=25)
    # sound may begin 23 ms before the picture, and the film with it
    chapters = lesson.plan.source.chapters
    assert [chapter.title for chapter in chapters] == ["مقدمة", "Optique = lumière", "Exercices"]
    assert [chapter.start_seconds for chapter in chapters] == pytest.approx([0.0, 1.5, 3.0], abs=0.03)
    listed = json.loads((lesson.folder / "chapters.json").read_text())
    assert [(one["chapter"], one["start-time"], one["duration"]) for one in listed] == [
        (1, pytest.approx(0.0, abs=0.03), 1.5),
        (2, pytest.approx(1.5, abs=0.03), 1.5),
        (3, pytest.approx(3.0, abs=0.03), pytest.approx(1.0, abs=0.05)),
    ]
    assert [finding.message for finding in check(str(lesson.folder / "master.m3u8")).errors] == []


def test_one_chapter_and_subtitles_that_cannot_be_read_leave_a_plain_lesson(tmp_path: Path, ffmpeg: Ffmpeg) -> None:
    words = ["-f", "lavfi", "-i", "testsrc2=s=160x90:r=25:d=2", "-i", str(tmp_path / "empty.srt")]
    (tmp_path / "empty.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\n{\\an8}\n")
    (tmp_path / "one.txt").write_text(";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=2000\ntitle=all\n")
    words += [
        "-i",
        str(tmp_path / "one.txt"),
        "-map",
        "0:v",
        "-map",
        "1:s",
        "-map_chapters",
        "2",
        "-c:v",
        "libx264",
        "-c:s",
        "srt",
    ]
    subprocess.run(["ffmpeg", "-v", "error", "-y", *words, str(tmp_path / "film.mkv")], check=True)

    lesson = make_lesson(tmp_path / "film.mkv", tmp_path / "lesson", ffmpeg, recipe=QUICK)

    assert lesson.plan.source.subtitles
    assert lesson.plan.source.chapters == ()
    assert not (lesson.folder / "captions").exists()
    master = (lesson.folder / "master.m3u8").read_text()
    assert "SUBTITLES" not in master
    assert "SESSION-DATA" not in master


def test_chapters_are_values_that_a_plan_keeps(tmp_path: Path, ffmpeg: Ffmpeg) -> None:
    lesson = make_lesson(carrying(tmp_path, "mkv", "srt"), tmp_path / "lesson", ffmpeg, recipe=QUICK)

    assert type(lesson.plan).load(lesson.plan.dump()) == lesson.plan
    assert lesson.plan.source.chapters[2] == Chapter(start_seconds=3.0, title="Exercices")
