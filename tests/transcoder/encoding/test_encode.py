"""Chunks made by separate processes join into what one process makes: the same pictures at the same times."""

import hashlib
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from services.transcoder.encoding.encode import encode_chunk
from services.transcoder.encoding.local_pipeline import Lesson, make_lesson
from services.transcoder.ffmpeg.process import Ffmpeg
from services.transcoder.hls.mp4 import fragments
from services.transcoder.inspection.inspect_and_rewrap import prepare
from services.transcoder.planning.plan import make_plan
from tests.transcoder.films import QUICK, WHOLE
from tests.variations import variations


def _shown_times(folder: Path) -> list[int]:
    """When each picture of a rendition is shown, in ticks."""
    times = []
    for file in sorted(folder.glob("[0-9]*.m4s")):
        for fragment in fragments(file.read_bytes()):
            at = fragment.time
            for sample in fragment.samples:
                times.append(at + sample.shift)
                at += sample.duration
    return sorted(times)


def _hashes(folder: Path) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


@pytest.mark.parametrize(
    "kind",
    variations(
        [
            "NTSC 29.97",
            "an odd rate of 179/6",
            "variable rate with a hole",
            "sound starts early",
            "open groups",
            "MPEG-TS",
        ],
        ["variable rate with a hole", "open groups"],
    ),
)
def test_chunks_show_the_same_pictures_at_the_same_times_as_one_process(
    kind: str, film: Callable[[str], Path], lesson_of: Callable[[str], Lesson], ffmpeg: Ffmpeg, tmp_path: Path
) -> None:
    chunked = lesson_of(kind)
    single = make_lesson(film(kind), tmp_path / "single", ffmpeg, recipe=WHOLE)
    assert len(chunked.plan.chunks) > len(single.plan.chunks) == 1

    for rung in chunked.plan.rungs:
        times = _shown_times(chunked.folder / rung.name)
        # 90 kHz cannot express every rate: a cut may be a tick (11 microseconds) off
        single_times = _shown_times(single.folder / rung.name)
        assert [abs(a - b) > 1 for a, b in zip(times, single_times, strict=True)].count(True) == 0
        assert len(times) == len(set(times)) == chunked.plan.frames
        steps = {after - before for before, after in itertools.pairwise(times)}
        ticks = 90_000 / float(chunked.plan.rate)
        assert all(abs(step - ticks) < 2 for step in steps)
        init = rung.name + "/init.mp4"
        assert (chunked.folder / init).read_bytes() == (single.folder / init).read_bytes()


def test_two_runs_give_equal_bytes(
    film: Callable[[str], Path], lesson_of: Callable[[str], Lesson], ffmpeg: Ffmpeg, tmp_path: Path
) -> None:
    first = lesson_of("three languages")

    second = make_lesson(film("three languages"), tmp_path / "again", ffmpeg, recipe=QUICK, jobs=1)

    assert _hashes(second.folder) == _hashes(first.folder)
    assert second.plan.key == first.plan.key


def test_a_chunk_encoded_alone_and_last_first_is_the_same_chunk(
    film: Callable[[str], Path], lesson_of: Callable[[str], Lesson], ffmpeg: Ffmpeg, tmp_path: Path
) -> None:
    kind = "NTSC 29.97"
    prepared = prepare(film(kind), tmp_path, ffmpeg, QUICK)
    plan = make_plan(prepared.source, prepared.sha256, ffmpeg.build, QUICK)

    for chunk in reversed(plan.chunks):
        encode_chunk(plan, chunk, prepared.path, tmp_path / "alone", ffmpeg)

    rung = plan.rungs[0].name
    made, alone = _hashes(lesson_of(kind).folder / rung), _hashes(tmp_path / "alone" / rung)
    assert alone == {name: digest for name, digest in made.items() if not name.endswith(".m3u8")}
