"""Writes a lesson's chapters in Apple's JSON form, which a master playlist names by `com.apple.hls.chapters`. Pure."""

import json
from collections.abc import Sequence
from fractions import Fraction

from services.transcoder.planning.source import Chapter

CHAPTERS_NAME = "chapters.json"
SESSION_DATA = f'#EXT-X-SESSION-DATA:DATA-ID="com.apple.hls.chapters",URI="{CHAPTERS_NAME}"'


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
