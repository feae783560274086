"""Every kind of film becomes a lesson that keeps every MUST rule, with declared rates within one per cent."""

from collections.abc import Callable
from fractions import Fraction

import pytest
from _pytest.mark.structures import ParameterSet

from services.transcoder.encoding.local_pipeline import Lesson
from services.transcoder.hls.lint.check import check
from services.transcoder.hls.playlists import MASTER_NAME
from tests.transcoder import corpus

#: What the recipe or the source decides, not the transcoder: a cheap preset, an unusual rate or a tiny picture.
EXPECTED_WARNINGS = {"Apple 1.4", "Apple 1.18", "Apple 1.30"}

#: One of each way in which films differ: `make test` makes these, `make test-all` every kind.
REPRESENTATIVE = {
    "NTSC 29.97", "variable rate", "three renditions", "pixels that are wide", "10-bit HEVC", "HDR, PQ",
    "interlaced, top first", "no sound", "three languages", "MPEG-TS, clock wraps", "WebM, VP9 and Opus",
    "half a second", "turned by 90", "cut in front by an edit list",
}  # fmt: skip


def of_kind(kind: str, *more: object) -> ParameterSet:
    """The arguments of a test about one kind of film."""
    return pytest.param(kind, *more, marks=() if kind in REPRESENTATIVE else pytest.mark.slow)


@pytest.mark.parametrize("kind", [of_kind(kind) for kind in (*corpus.KINDS, *corpus.SPECIAL)])
def test_every_kind_becomes_a_lesson_that_keeps_the_rules(kind: str, lesson_of: Callable[[str], Lesson]) -> None:
    lesson = lesson_of(kind)

    report = check(str(lesson.folder / MASTER_NAME))

    assert [finding.message for finding in report.errors] == []
    assert report.unreadable == ()
    assert {finding.rule.source for finding in report.warnings} - EXPECTED_WARNINGS == set()
    assert not list(lesson.folder.rglob(".*")), "scratch folders stayed behind"


@pytest.mark.parametrize(
    ("kind", "size", "rate"),
    [
        of_kind("portrait", (90, 160), "25"),
        of_kind("turned by 90", (90, 160), "25"),
        of_kind("turned by 180", (160, 90), "25"),
        of_kind("turned by 270", (90, 160), "25"),
        of_kind("pixels that are wide", (192, 144), "25"),
        of_kind("pixels that are tall", (320, 180), "25"),
        of_kind("odd size", (320, 180), "25"),
        of_kind("120 pictures a second", (160, 90), "60"),
        of_kind("interlaced, top first", (160, 96), "50"),
        of_kind("interlaced MPEG-2, bottom first", (160, 96), "50"),
        of_kind("NTSC 29.97", (160, 90), "30000/1001"),
        of_kind("film 23.976", (160, 90), "24000/1001"),
        of_kind("variable rate", (160, 90), "30"),
        of_kind("one picture a second", (160, 90), "5"),
    ],
)
def test_the_largest_rendition_is_what_a_viewer_expects(
    kind: str, size: tuple[int, int], rate: str, lesson_of: Callable[[str], Lesson]
) -> None:
    lesson = lesson_of(kind)

    largest = lesson.plan.rungs[0]

    assert (largest.width, largest.height) == size
    assert lesson.plan.rate == Fraction(rate)


@pytest.mark.parametrize("kind", [of_kind("HDR, PQ"), of_kind("HDR, HLG")])
def test_hdr_is_seen_and_mapped(kind: str, lesson_of: Callable[[str], Lesson]) -> None:
    video = lesson_of(kind).plan.source.video

    assert video is not None
    assert video.hdr


def test_three_languages_become_three_named_sounds(lesson_of: Callable[[str], Lesson]) -> None:
    sounds = lesson_of("three languages").plan.sounds

    assert [sound.language for sound in sounds] == ["ar", "fr", "ar"]
    assert len({sound.title for sound in sounds}) == 3
    assert [sound.default for sound in sounds].count(True) == 1


def test_sound_that_goes_on_holds_the_last_picture(lesson_of: Callable[[str], Lesson]) -> None:
    lesson = lesson_of("sound ends late")

    assert lesson.plan.duration_seconds == 9


def test_sound_alone_has_no_picture_and_no_stills(lesson_of: Callable[[str], Lesson]) -> None:
    lesson = lesson_of("sound with a cover")

    assert lesson.plan.rungs == ()
    assert lesson.stills == ()
    assert "RESOLUTION" not in (lesson.folder / MASTER_NAME).read_text()


@pytest.mark.parametrize("kind", [of_kind(kind) for kind in corpus.KINDS if "fragment" in kind])
def test_fragments_last_as_long_as_they_are(kind: str, lesson_of: Callable[[str], Lesson]) -> None:
    lesson = lesson_of(kind)

    assert lesson.plan.source.video
    seconds = 7 if kind == "fragmented MP4" else 6
    assert lesson.plan.source.video.frames == 25 * seconds
    assert seconds <= lesson.assembly.duration_seconds <= seconds + Fraction(1, 10)
