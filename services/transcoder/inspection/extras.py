"""Reads what an upload carries beside picture and sound: subtitle tracks and chapters."""

from collections.abc import Sequence
from typing import Any

from services.transcoder.planning.languages import language_tag
from services.transcoder.planning.source import Chapter, Subtitles
from shared.runtime.visible_text import plain

#: Codecs of subtitles that are text; pictures (DVD, Blu-ray, DVB) become no captions.
TEXT_CODECS = ("mov_text", "subrip", "srt", "ass", "ssa", "webvtt", "text")
MAX_TRACKS = 16
MAX_CHAPTERS = 500
MAX_TITLE = 200


def subtitles_of(streams: Sequence[dict[str, Any]]) -> tuple[Subtitles, ...]:
    """The text tracks of a file, one for each language: the whole one before the one of signs alone (`forced`)."""
    tracks = [one for one in streams if one["codec_type"] == "subtitle" and one.get("codec_name") in TEXT_CODECS]
    tracks.sort(key=lambda one: (one["disposition"]["forced"], not one["disposition"]["default"], one["index"]))
    found: dict[str, Subtitles] = {}
    for one in tracks:
        tags = one.get("tags", {})
        language = language_tag(tags.get("language", ""))
        found.setdefault(
            language, Subtitles(index=one["index"], language=language, title=plain(tags.get("title", ""), 60))
        )
    return tuple(sorted(found.values(), key=lambda track: track.index)[:MAX_TRACKS])


def chapters_of(described: dict[str, Any], start: float, duration: float) -> tuple[Chapter, ...]:
    """The chapters of a file whose first frame is at `start`, in order; those after its end are left out."""
    found: dict[float, Chapter] = {}
    for one in sorted(described.get("chapters", ()), key=lambda one: float(one["start_time"])):
        at = round(max(0.0, float(one["start_time"]) - start), 3)
        title = plain(one.get("tags", {}).get("title", ""), MAX_TITLE) or f"{len(found) + 1}"
        if at < duration:
            found.setdefault(at, Chapter(start_seconds=at, title=title))
    # one that is the whole film says nothing
    return tuple(found.values())[:MAX_CHAPTERS] if len(found) > 1 else ()
