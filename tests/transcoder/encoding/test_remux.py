"""The fast first picture: H.264 and AAC are cut as they are, within seconds, and keep the rules."""

from collections.abc import Callable
from pathlib import Path

import pytest

from services.transcoder.encoding.remux import can_remux, remux
from services.transcoder.errors import WrongOutputError
from services.transcoder.ffmpeg.process import Ffmpeg
from services.transcoder.hls.lint.check import check
from services.transcoder.inspection.probe import inspect


@pytest.mark.parametrize(
    "kind", ["plain 25 pictures a second", "no sound", "fragmented MP4", "very wide", "variable rate"]
)
def test_what_browsers_play_becomes_hls_without_encoding(
    kind: str, film: Callable[[str], Path], ffmpeg: Ffmpeg, tmp_path: Path
) -> None:
    source = inspect(film(kind), tmp_path, ffmpeg)
    assert can_remux(source)

    assembly = remux(source, film(kind), tmp_path, ffmpeg)

    for name, text in assembly.playlists.items():
        (tmp_path / name).write_text(text)
    # one rendition is what it is for; the ladder's master brings the others
    errors = {finding.rule.source for finding in check(str(tmp_path / "master.m3u8")).errors}
    assert errors - {"Apple 9.9"} == set()
    assert all((tmp_path / name).is_file() for name in assembly.media)


@pytest.mark.parametrize(
    "kind",
    ["turned by 90", "pixels that are wide", "10-bit H.264", "4:4:4", "full range", "120 pictures a second",
     "interlaced, top first", "5.1 sound", "sound starts late", "MPEG-TS", "WebM, VP8 and Vorbis", "sound alone"],
)  # fmt: skip
def test_what_browsers_would_not_play_right_waits_for_the_ladder(
    kind: str, film: Callable[[str], Path], ffmpeg: Ffmpeg, tmp_path: Path
) -> None:
    assert not can_remux(inspect(film(kind), tmp_path, ffmpeg))


def test_open_groups_cannot_be_cut_and_wait_for_the_ladder(
    film: Callable[[str], Path], ffmpeg: Ffmpeg, tmp_path: Path
) -> None:
    source = inspect(film("open groups"), tmp_path, ffmpeg)

    with pytest.raises(WrongOutputError, match="IDR"):
        remux(source, film("open groups"), tmp_path, ffmpeg)
