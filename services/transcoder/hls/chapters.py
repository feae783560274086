"""Writes a lesson's chapters in Apple's JSON form, which a master playlist names by `com.apple.hls.chapters`. Pure."""

import hashlib
import json
from collections.abc import Sequence
from fractions import Fraction

from services.transcoder.planning.source import Chapter

CHAPTERS_NAME = "chapters.json"
SESSION_DATA = f'#EXT-X-SESSION-DATA:DATA-ID="com.apple.hls.chapters",URI="{CHAPTERS_NAME}"'

#: The tags of a master before its chapters.
_HEAD = ("#EXTM3U", "#EXT-X-VERSION:", "#EXT-X-INDEPENDENT-SEGMENTS")


def chapters_name(chapters: Sequence[Chapter]) -> str:
    """The file of chapters that a person sent: named by its content, so that no other bytes ever have the name."""
    listed = json.dumps([[chapter.start_seconds, chapter.title] for chapter in chapters])
    return f"chapters-{hashlib.sha256(listed.encode()).hexdigest()[:16]}.json"


def with_chapters(master: str, chapters: Sequence[Chapter]) -> str:
    """`master` with these chapters in place of the upload's."""
    lines = [line for line in master.splitlines() if line != SESSION_DATA]
    if chapters:
        named = SESSION_DATA.replace(CHAPTERS_NAME, chapters_name(chapters))
        lines.insert(next((at for at, line in enumerate(lines) if not line.startswith(_HEAD)), len(lines)), named)
    return "\n".join(lines) + "\n"


def chapter_list(chapters: Sequence[Chapter], duration: Fraction) -> str:
    """`chapters` of a lesson that lasts `duration` seconds; a title is of no known language."""
    ends = [*(chapter.start_seconds for chapter in chapters[1:]), float(duration)]
    listed = [
        {
            "chapter": number,
            "start-time": chapter.start_seconds,
            "duration": round(end - chapter.start_seconds, 3),
            "titles": [{"language": "und", "title": chapter.title}],
        }
        for number, (chapter, end) in enumerate(zip(chapters, ends, strict=True), 1)
    ]
    return json.dumps(listed, ensure_ascii=False)
