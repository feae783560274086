"""Chapters in a master playlist, wherever its first variant is."""

import pytest

from services.transcoder.hls.chapters import SESSION_DATA, with_chapters
from services.transcoder.planning.source import Chapter

CHAPTERS = (Chapter(start_seconds=0.0, title="one"),)
VARIANT = "#EXT-X-STREAM-INF:BANDWIDTH=1\nv.m3u8\n"


@pytest.mark.parametrize(
    "head",
    ["#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-INDEPENDENT-SEGMENTS\n", "#EXTM3U\n#EXT-X-VERSION:7\n", "#EXTM3U\n"],
    ids=["of this release", "without independent segments", "without a version"],
)
def test_chapters_are_named_before_the_first_variant(head: str) -> None:
    (named,) = (line for line in with_chapters(head, CHAPTERS).splitlines() if "SESSION-DATA" in line)

    assert with_chapters(head + VARIANT, CHAPTERS) == f"{head}{named}\n{VARIANT}"
    assert with_chapters(f"{head}{SESSION_DATA}\n{VARIANT}", CHAPTERS) == f"{head}{named}\n{VARIANT}"
    assert with_chapters(f"{head}{SESSION_DATA}\n{VARIANT}", ()) == head + VARIANT
